import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openWeights } from '../src/checkpoint/files.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { PickleGlobal } from '../src/checkpoint/torch/pickle.js';
import { PersistentId, type Picklable, PickleCall, pickle } from '../src/checkpoint/torch/writePickle.js';
import { writeTorchCheckpoint } from '../src/checkpoint/torch/writeTorch.js';
import { writeZip } from '../src/checkpoint/torch/writeZip.js';
import { writeFileAtomic } from '../src/io/atomic.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import { type LazyTensor, type LazyTensors, tensorOf } from '../src/io/tensor.js';
import { randomFloats } from './support.js';

/** A small valid file and what reads all of it. */
export interface Sample {
  name: string;
  path: string;
  bytes: Buffer;
  open: () => void;
}

const values = (...shape: number[]) =>
  tensorOf(
    shape,
    randomFloats(
      shape.reduce((a, b) => a * b, 1),
      'sample',
      ...shape,
    ),
  );

const weights = new Map<string, LazyTensor>([
  ['logit_scale', values()],
  ['visual.conv1.weight', values(2, 3, 2, 2)],
  ['bert.embeddings.word_embeddings.weight', values(5, 4)],
  ['bert.embeddings.LayerNorm.bias', values(4)],
]);

const factors = { step: 3, learningRate: 1e-3, weightDecay: 0.2, beta1: 0.9, beta2: 0.98, epsilon: 1e-6 };
const moments = new Map([...weights].map(([name, tensor]) => [name, { first: tensor, second: tensor }]));

/** A tensor as a pickle describes it, over storage `key`. */
function tensorCall(key: string, shape: number[], strides: number[], type: string, view: Picklable[] = []) {
  const count = shape.reduce((a, b) => a * b, 1);
  const id = ['storage', new PickleGlobal(`torch.${type}`), key, 'cpu', count, ...view];
  const hooks = new PickleCall(new PickleGlobal('collections.OrderedDict'), []);
  const rebuild = new PickleGlobal('torch._utils._rebuild_tensor_v2');
  return new PickleCall(rebuild, [new PersistentId(id), 0, shape, strides, false, hooks]);
}

/** The form of torch.save before PyTorch 1.6. */
function legacyFile(): Buffer {
  const magic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
  const storage = (data: Float32Array | Uint16Array) => {
    const count = Buffer.alloc(8);
    count.writeBigInt64LE(BigInt(data.length));
    return Buffer.concat([count, Buffer.from(data.buffer)]);
  };
  const root = new Map<string, Picklable>([
    ['bert.a', tensorCall('10', [2, 3], [3, 1], 'FloatStorage', [null])],
    ['bert.b', tensorCall('11', [3, 2], [1, 3], 'HalfStorage', [null])],
  ]);
  return Buffer.concat([
    magic,
    pickle(1001),
    pickle(new Map([['little_endian', true]])),
    pickle(root),
    pickle({ list: ['10', '11'] }),
    storage(Float32Array.of(1, 2, 3, 4, 5, 6)),
    storage(Uint16Array.of(0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600)),
  ]);
}

/** A module of torch.jit.save with a submodule `visual`, as OpenAI publishes CLIP. */
function writeTorchScript(path: string): void {
  const inner = (value: Picklable) => pickle(value).subarray(2, -1);
  const text = (value: string) => inner(value);
  const module = (name: string, entries: [string, Buffer][]) =>
    Buffer.concat([
      Buffer.from(`c__torch__.model\n${name}\n)\x81}(`, 'latin1'),
      ...entries.flatMap(([key, value]) => [text(key), value]),
      Buffer.from('ub'),
    ]);
  const proj = inner(tensorCall('0', [2, 3], [3, 1], 'FloatStorage'));
  const root = module('CLIP', [
    ['training', inner(false)],
    ['visual', module('Visual', [['proj', proj]])],
    ['input_resolution', inner(tensorCall('1', [], [], 'LongStorage'))],
  ]);
  const member = (name: string, data: Uint8Array) => ({ name: `clip/${name}`, read: () => data });
  const members = [
    member('data.pkl', Buffer.concat([Buffer.from([0x80, 2]), root, Buffer.from('.')])),
    member('data/0', new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer)),
    member('data/1', new Uint8Array(BigInt64Array.of(224n).buffer)),
    member('version', Buffer.from('3\n')),
  ];
  writeFileAtomic(path, (append) => writeZip(append, members));
}

/** Valid files of every kind that readers take, in a folder. */
export function writeSamples(folder: string): Sample[] {
  const sample = (name: string, path: string, open: () => void): Sample => ({
    name,
    path,
    bytes: readFileSync(path),
    open,
  });
  const inFolder = (name: string) => {
    const path = join(folder, name);
    mkdirSync(path);
    return path;
  };
  const readWeights = (path: string) => () => {
    const { tensors, training } = openWeights(path);
    readAll(tensors);
    for (const { first, second } of training?.optimizer?.moments.values() ?? []) {
      first.read();
      second.read();
    }
  };

  const pt = join(folder, 'sample.pt');
  const training = { epoch: 1, step: 3, name: 'sample', optimizer: { ...factors, moments } };
  writeTorchCheckpoint(pt, weights, training);
  const legacy = join(folder, 'legacy.bin');
  writeFileSync(legacy, legacyFile());
  const script = join(folder, 'script.pt');
  writeTorchScript(script);
  const plain = join(folder, 'plain.safetensors');
  writeSafetensors(plain, weights, { format: 'pt' });

  const sharded = inFolder('sharded');
  const index = join(sharded, 'model.safetensors.index.json');
  writeSafetensors(join(sharded, 'a.safetensors'), weights);
  const shards = Object.fromEntries([...weights.keys()].map((name) => [name, 'a.safetensors']));
  writeFileSync(index, JSON.stringify({ metadata: { total_size: 1 }, weight_map: shards }));

  const huggingface = inFolder('huggingface');
  writeSafetensors(join(huggingface, 'model.safetensors'), weights);
  const config = join(huggingface, 'config.json');
  const text = { vocab_size: 100, hidden_size: 64, num_attention_heads: 2, hidden_act: 'gelu' };
  const vision = { hidden_size: 64, intermediate_size: 256, num_attention_heads: 2, patch_size: 16 };
  writeFileSync(
    config,
    JSON.stringify({ model_type: 'chinese_clip', text_config: text, vision_config: vision }),
  );

  const directory = inFolder('directory');
  writeSafetensors(join(directory, 'model.safetensors'), weights);
  writeSafetensors(join(directory, 'optimizer.safetensors'), momentsOf(weights));
  const state = join(directory, 'state.json');
  writeFileSync(state, JSON.stringify({ epoch: 1, step: 3, name: 'x', optimizer: factors }));
  const versions = join(directory, 'cn-clip.json');
  writeFileSync(versions, JSON.stringify({ format: 1, 'cn-clip': '0.1.0' }));

  return [
    sample('PyTorch', pt, readWeights(pt)),
    sample('PyTorch before 1.6', legacy, readWeights(legacy)),
    sample('TorchScript', script, readWeights(script)),
    sample('safetensors', plain, readWeights(plain)),
    sample('index of shards', index, readWeights(index)),
    sample('Hugging Face config', config, () => openCheckpoint(huggingface).config()),
    sample('training state', state, () => openCheckpoint(directory).training()),
    sample('versions', versions, () => openCheckpoint(directory)),
  ];
}

function momentsOf(tensors: LazyTensors): Map<string, LazyTensor> {
  return new Map(
    [...tensors].flatMap(([name, tensor]) => [
      [`${name}.exp_avg`, tensor] as const,
      [`${name}.exp_avg_sq`, tensor] as const,
    ]),
  );
}

function readAll(tensors: LazyTensors): void {
  for (const tensor of tensors.values()) tensor.read();
}
