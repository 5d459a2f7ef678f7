import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { toHuggingFaceConfig } from '../src/checkpoint/huggingfaceConfig.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { writeTorchCheckpoint } from '../src/checkpoint/torch/writeTorch.js';
import { UserError } from '../src/errors.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import { castFloats, type LazyTensor, readValues, tensorOf } from '../src/io/tensor.js';
import { loadModelConfig, type ViTConfig } from '../src/model/config.js';
import { Random } from '../src/random.js';

/** What the test tells this worker. */
export interface FuzzTask {
  folder: string;
  /** of the PyTorch files made by PyTorch */
  fixtures: string;
  seed: number;
  mutations: number;
  /** the number of the mutation that is being read, for who watches */
  progress: Int32Array;
}

/** What it answers. */
export interface FuzzResult {
  failures: string[];
  /** files that could be read whole */
  accepted: number;
  /** milliseconds */
  slowest: number;
}

/** A file that is read as a user would give it, and what reading begins with. */
interface Target {
  file: string;
  location: string;
}

const MAX_TIME = 1000;
const INTERESTING = [0n, 1n, -1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n];

/** One small valid file of every kind that is read. */
function makeTargets(folder: string, fixtures: string): Target[] {
  const values = (...shape: number[]): LazyTensor => {
    const length = shape.reduce((product, size) => product * size, 1);
    return tensorOf(
      shape,
      Float32Array.from({ length }, (_, i) => i / 8),
    );
  };
  const weights = new Map([
    ['logit_scale', values()],
    ['text_projection', values(2, 3)],
    ['visual.conv1.weight', castFloats(values(2, 1, 2, 2), 'F16')],
    ['empty.weight', values(0, 4)],
  ]);
  const moments = new Map(
    [...weights].map(([name, { shape }]) => {
      const moment = values(...shape);
      return [name, { first: moment, second: moment }];
    }),
  );
  const factors = { learningRate: 1e-4, weightDecay: 0.2, beta1: 0.9, beta2: 0.98, epsilon: 1e-6 };
  const training = { epoch: 1, step: 3, name: 'run', optimizer: { step: 3, ...factors, moments } };
  const config = loadModelConfig('tiny');
  const path = (...parts: string[]) => {
    const made = join(folder, ...parts);
    mkdirSync(dirname(made), { recursive: true });
    return made;
  };

  writeTorchCheckpoint(path('ours.pt'), weights, training);
  writeSafetensors(path('model.safetensors'), weights, { format: 'pt' });
  for (const name of ['zip.pt', 'legacy.pt', 'scripted.pt']) {
    writeFileSync(path(name), readFileSync(join(fixtures, name)));
  }
  writeCheckpoint(path('directory'), { weights, config, vocabulary: ['[UNK]'], training });

  const shards = { 'a.safetensors': ['logit_scale', 'text_projection'], 'b.bin': ['visual.conv1.weight'] };
  const index = Object.entries(shards).flatMap(([file, names]) => names.map((name) => [name, file]));
  const shardsOf = (names: readonly string[]) => new Map(names.map((name) => [name, weights.get(name)!]));
  writeSafetensors(path('shards', 'a.safetensors'), shardsOf(shards['a.safetensors']));
  writeTorchCheckpoint(path('shards', 'b.bin'), shardsOf(shards['b.bin']), { epoch: 0, step: 0, name: '' });
  const indexFile = path('shards', 'pytorch_model.bin.index.json');
  writeFileSync(indexFile, JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(index) }));

  const layer = 'vision_model.encoder.layers.0.self_attn';
  const theirs = new Map([
    ['text_model.embeddings.word_embeddings.weight', values(4, 2)],
    ['visual_projection.weight', values(3, 2)],
    ...['q', 'k', 'v'].map((part): [string, LazyTensor] => [`${layer}.${part}_proj.weight`, values(2, 2)]),
  ]);
  writeSafetensors(path('theirs', 'model.safetensors'), theirs);
  const theirConfig = toHuggingFaceConfig(loadModelConfig('ViT-B-16') as ViTConfig, 'float32');
  writeFileSync(path('theirs', 'config.json'), JSON.stringify(theirConfig));

  const alone = ['ours.pt', 'model.safetensors', 'zip.pt', 'legacy.pt', 'scripted.pt'];
  const within = (name: string, ...files: string[]) =>
    files.map((file) => ({ file: join(folder, name, file), location: join(folder, name) }));
  return [
    ...alone.map((name) => ({ file: join(folder, name), location: join(folder, name) })),
    ...within(
      'directory',
      'model.safetensors',
      'optimizer.safetensors',
      'state.json',
      'cn-clip.json',
      'config.json',
    ),
    ...within('shards', 'pytorch_model.bin.index.json', 'a.safetensors', 'b.bin'),
    ...within('theirs', 'model.safetensors', 'config.json'),
  ];
}

/** Changes a file at random. @returns what it has become, and what was done to it */
function mutate(random: Random, original: Buffer, other: Buffer): { bytes: Buffer; said: string } {
  let bytes = Buffer.from(original);
  const said: string[] = [];
  const count = 1 + random.integer(3);
  for (let i = 0; i < count; i++) {
    const at = random.integer(bytes.length + 1);
    const length = random.integer(Math.min(64, bytes.length - at) + 1);
    const range = bytes.subarray(at, at + length);
    const replace = (from: number, to: number, ...parts: Uint8Array[]) => {
      bytes = Buffer.concat([bytes.subarray(0, from), ...parts, bytes.subarray(to)]);
    };
    const kind = random.integer(8);
    said.push(
      `${['flip', 'set', 'insert', 'delete', 'repeat', 'cut', 'splice', 'number'][kind]} at ${at}, ${length}`,
    );
    if (kind === 0 && at < bytes.length) bytes[at] ^= 1 << random.integer(8);
    else if (kind === 1 && at < bytes.length) bytes[at] = random.integer(256);
    else if (kind === 2)
      replace(
        at,
        at,
        Uint8Array.from({ length }, () => random.integer(256)),
      );
    else if (kind === 3) replace(at, at + length);
    else if (kind === 4) replace(at, at, Buffer.from(range));
    else if (kind === 5 && random.integer(4) === 0) bytes = bytes.subarray(0, at);
    else if (kind === 6) {
      const from = random.integer(other.length + 1);
      replace(at, at + length, other.subarray(from, from + length));
    } else if (kind === 7) {
      const width = [1, 2, 4, 8][random.integer(4)];
      const value = INTERESTING[random.integer(INTERESTING.length)];
      const field = Buffer.alloc(8);
      field.writeBigUInt64LE(BigInt.asUintN(64, value));
      if (random.integer(2) === 0) field.subarray(0, width).reverse();
      if (at + width <= bytes.length) field.copy(bytes, at, 0, width);
    }
  }
  return { bytes, said: said.join('; ') };
}

/** Reads all there is. @returns whether it could be read, and the first error that is none of ours */
function outcome(location: string): { isRead: boolean; error: unknown } {
  let isRead = true;
  const attempt = (read: () => void): unknown => {
    try {
      read();
      return undefined;
    } catch (error) {
      isRead = false;
      return error instanceof UserError && error.message.length < 2000 ? undefined : error;
    }
  };
  let opened: ReturnType<typeof openCheckpoint> | undefined;
  const refusal = attempt(() => {
    opened = openCheckpoint(location);
  });
  if (opened === undefined) return { isRead, error: refusal };
  const { tensors, training, config } = opened;
  const parts = [
    ...[...tensors.values()].map((tensor) => () => void readValues(tensor)),
    () => {
      for (const { first, second } of training()?.optimizer?.moments.values() ?? []) {
        readValues(first);
        readValues(second);
      }
    },
  ];
  const errors = parts.map(attempt);
  // Shapes of a few tensors tell no config.
  const whole = isRead;
  errors.push(attempt(() => void config()));
  return { isRead: whole, error: errors.find((error) => error !== undefined) };
}

const { folder, fixtures, seed, mutations, progress } = workerData as FuzzTask;
const targets = makeTargets(folder, fixtures);
const originals = targets.map(({ file }) => readFileSync(file));
const failures: string[] = [];
let accepted = 0;
let slowest = 0;
for (const { location } of targets) {
  const { isRead, error } = outcome(location);
  if (!isRead) failures.push(`${location} can't be read unchanged`);
  if (error !== undefined) failures.push(`${location} unchanged: ${String(error)}`);
}
for (let i = 0; i < mutations && failures.length < 20; i++) {
  Atomics.store(progress, 0, i);
  const random = new Random(seed, 'fuzz', i);
  const target = i % targets.length;
  const { file, location } = targets[target];
  const { bytes, said } = mutate(random, originals[target], originals[random.integer(targets.length)]);
  writeFileSync(file, bytes);
  const name = `seed ${seed}, mutation ${i} of ${file}: ${said}`;
  const timed = () => {
    const started = performance.now();
    const result = outcome(location);
    return { ...result, time: performance.now() - started };
  };
  let { isRead, error, time } = timed();
  // Once more where it was slow: the machine may have been busy.
  if (time > MAX_TIME) ({ isRead, error, time } = timed());
  if (time > MAX_TIME) failures.push(`${name}: took ${time.toFixed()} ms`);
  if (error !== undefined) failures.push(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
  if (isRead) accepted++;
  slowest = Math.max(slowest, time);
  writeFileSync(file, originals[target]);
}
parentPort!.postMessage({ failures, accepted, slowest } satisfies FuzzResult);
