import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { Engine } from '../src/engine/engine.js';
import { OnnxEngine } from '../src/engine/onnx/engine.js';
import { TfjsEngine } from '../src/engine/tfjs/engine.js';
import { packageRoot } from '../src/io/packageRoot.js';
import type { StoredTensor } from '../src/io/safetensors.js';
import type { LazyTensors } from '../src/io/tensor.js';
import { loadModelConfig, type ModelConfig, type ResNetConfig } from '../src/model/config.js';
import { createModel } from '../src/model/load.js';
import type { Model } from '../src/model/model.js';
import { Random } from '../src/random.js';
import { sizeOf } from '../src/shape.js';
import type { Schedule } from '../src/train/schedule.js';
import type { TrainerOptions, TrainingBatch } from '../src/train/trainer.js';

// Keeps the plain JavaScript backend from advertising tfjs-node on the terminal.
tf.enableProdMode();

/** Both engines, the TensorFlow.js one on its plain JavaScript backend. */
export const onnx: Engine = await OnnxEngine.start('cpu');
export const tfjs: Engine = new TfjsEngine('cpu');
export const engines: readonly Engine[] = [onnx, tfjs];

/** The path of a file under tests/fixtures. */
export function fixture(...parts: string[]): string {
  return join(packageRoot, 'tests', 'fixtures', ...parts);
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

/** A folder that is removed when the tests of the file have run. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'cn-clip-test-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Uniform values in [-1, 1), the same in every run. */
export function randomFloats(length: number, ...key: (number | string)[]): Float32Array {
  const random = new Random(...key);
  return Float32Array.from({ length }, () => random.uniform() * 2 - 1);
}

/** Whole numbers in [0, below). */
export function randomIntegers(length: number, below: number, ...key: (number | string)[]): Int32Array {
  const random = new Random(...key);
  return Int32Array.from({ length }, () => random.integer(below));
}

/** The largest |a − b|; NaN if either holds one. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** ‖actual − expected‖ / ‖expected‖ */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < actual.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** The bytes of an array, for comparisons to the bit. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** Names, dtypes, shapes and bytes of the tensors are equal; their order is not looked at. */
export function assertSameTensors(actual: LazyTensors, expected: LazyTensors): void {
  assert.ok(expected.size > 0);
  assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
  for (const [name, tensor] of expected) {
    const found = actual.get(name)!;
    assert.deepEqual([found.dtype, ...found.shape], [tensor.dtype, ...tensor.shape], name);
    assert.deepEqual(bytesOf(found.read()), bytesOf(tensor.read()), name);
  }
}

type Values = ReadonlyMap<string, Float32Array>;

/** Arrays of the same names hold the same bits. */
export function assertSameBits(actual: Values, expected: Values): void {
  assert.deepEqual([...actual.keys()], [...expected.keys()]);
  for (const [name, values] of actual) assert.deepEqual(bytesOf(values), bytesOf(expected.get(name)!), name);
}

/** Gradients agree, but for that of the keys' biases, which is zero up to rounding. */
export function assertSameGradients(actual: Values, expected: Values, tolerance = 1e-4): void {
  assert.deepEqual([...actual.keys()], [...expected.keys()]);
  for (const [name, gradient] of actual) {
    if (name.endsWith('attention.self.key.bias')) continue;
    const difference = relativeL2(gradient, expected.get(name)!);
    assert.ok(difference < tolerance, `${name}: ${difference}`);
  }
}

/** A copy of a model's weights. */
export function snapshot(weights: ReadonlyMap<string, { data: Float32Array }>): Map<string, Float32Array> {
  return new Map([...weights].map(([name, { data }]) => [name, data.slice()]));
}

/** A new model of configs/models/tiny.yaml, or of a variation of it. */
export function tinyModel(engine: Engine, changes: Partial<ModelConfig> = {}, seed = 1): Model {
  return createModel({ ...loadModelConfig('tiny'), ...changes } as ModelConfig, engine, seed);
}

/** A new model of which the image tower is a ResNet, the rest as in configs/models/tiny.yaml. */
export function tinyResNet(engine: Engine, changes: Partial<ResNetConfig> = {}, seed = 1): Model {
  return createModel({ ...loadModelConfig('tiny'), ...tinyResNetTower, ...changes }, engine, seed);
}

/** Its widths are those of the tests' figures; one stage has a block that neither widens nor halves. */
export const tinyResNetTower = {
  vision_layers: [1, 2, 1, 1] as [number, number, number, number],
  vision_width: 8,
  vision_patch_size: null,
  vision_head_width: 64,
};

/** Random pixels and texts that end in padding (all but the first). */
export function randomBatch(config: ModelConfig, n: number, length: number, ...key: (number | string)[]) {
  const { image_resolution: side, vocab_size: words } = config;
  const ids = randomIntegers(n * length, words - 1, 'ids', ...key).map((id) => id + 1);
  for (let i = 1; i < n; i++) ids.fill(0, i * length + Math.max(2, length - i), (i + 1) * length);
  const pixels = randomFloats(sizeOf([n, 3, side, side]), 'pixels', ...key);
  return { pixels, ids, n, length } satisfies TrainingBatch;
}

export const trainerDefaults: Schedule & Partial<TrainerOptions> = {
  learningRate: 1e-3,
  warmupSteps: 2,
  totalSteps: 8,
  weightDecay: 0.2,
  beta1: 0.9,
  beta2: 0.98,
  epsilon: 1e-6,
  freezeVision: false,
  dropout: false,
  seed: 7,
};

/** AdamW's settings and the schedule of a run of the Python reference, by its names. */
export interface ReferenceSettings {
  lr: number;
  wd: number;
  warmup: number;
  total_steps: number;
  beta1: number;
  beta2: number;
  eps: number;
}

/** The same for our trainer, without dropout. */
export function trainerOptions(run: ReferenceSettings): Schedule & Partial<TrainerOptions> {
  return {
    ...trainerDefaults,
    learningRate: run.lr,
    warmupSteps: run.warmup,
    totalSteps: run.total_steps,
    weightDecay: run.wd,
    beta1: run.beta1,
    beta2: run.beta2,
    epsilon: run.eps,
  };
}

/** A batch from arrays as the Python reference stores them: image float32, text int64 [n, length]. */
export function batchOf(image: StoredTensor, text: StoredTensor) {
  const [n, length] = text.shape;
  const ids = Int32Array.from(text.data as BigInt64Array, Number);
  return { pixels: image.data as Float32Array, ids, n, length } satisfies TrainingBatch;
}

/** Wraps a registered function of TensorFlow.js so that its calls are noted. */
export function noteCalls<K extends string>(
  entry: { [key in K]: (...given: never[]) => unknown } | undefined,
  key: K,
  note: () => void,
): void {
  if (entry === undefined) return;
  const original = entry[key];
  entry[key] = (...given: never[]) => {
    note();
    return original(...given);
  };
}
