import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { readTorchArchive } from '../src/checkpoint/torch/archive.js';
import { TorchTensor } from '../src/checkpoint/torch/tensor.js';
import { writeTorchCheckpoint } from '../src/checkpoint/torch/writeTorch.js';
import type { OptimizerState, TrainingState } from '../src/checkpoint/trainingState.js';
import { UserError } from '../src/errors.js';
import { RangedFile } from '../src/io/readFile.js';
import { openSafetensors, readSafetensors, type StoredTensor } from '../src/io/safetensors.js';
import { loadModel } from '../src/model/load.js';
import { isVisionParameter } from '../src/model/parameters.js';
import { createTrainer, type Trainer, type TrainingBatch } from '../src/train/trainer.js';
import { batchOf, bytesOf, maxDifference, temporaryDirectory, trainerOptions } from './support.js';
import { referenceRuns, torchFixture } from './torchFixtures.js';

const folder = temporaryDirectory();

/**
 * A ResNet, too, is held to these: where moments are taken over, AdamW no longer steps as far for a gradient of rounding
 * noise as for any other, as it does in the first steps (see golden.test.ts).
 */
const tolerance = { loss: 1e-5, weights: 2e-5 };

type Kind = 'vit' | 'rn';

async function trainerOf(file: string, kind: Kind, freezeVision = false): Promise<Trainer> {
  const model = await loadModel(torchFixture(file), { config: torchFixture(`config-${kind}.json`) });
  return createTrainer(model, { ...trainerOptions(referenceRuns[kind]), freezeVision });
}

async function disposeOf(trainer: Trainer): Promise<void> {
  await trainer.dispose();
  await trainer.model.dispose();
}

const trainingOf = (file: string): TrainingState => openCheckpoint(torchFixture(file)).training()!;

function batch(data: ReadonlyMap<string, StoredTensor>, step: number): TrainingBatch {
  return batchOf(data.get(`image.${step}`)!, data.get(`text.${step}`)!);
}

function assertSameState(actual: OptimizerState, expected: OptimizerState): void {
  const { moments, ...factors } = actual;
  const { moments: others, ...otherFactors } = expected;
  assert.deepEqual(factors, otherFactors);
  assert.deepEqual([...moments.keys()].sort(), [...others.keys()].sort());
  for (const [name, { first, second }] of moments) {
    const other = others.get(name)!;
    for (const [tensor, twin] of [
      [first, other.first],
      [second, other.second],
    ]) {
      assert.deepEqual([tensor.dtype, ...tensor.shape], [twin.dtype, ...twin.shape], name);
      assert.deepEqual(bytesOf(tensor.read()), bytesOf(twin.read()), name);
    }
  }
}

/** Compares with what PyTorch reads, which numbers the parameters in the order of `names`. */
function assertState(file: string, names: readonly string[]): void {
  const { optimizer } = trainingOf(`${file}.pt`);
  const twin = openSafetensors(torchFixture(`${file}.expected.safetensors`));
  assert.equal(optimizer!.moments.size, names.length);
  for (const [number, name] of names.entries()) {
    const { first, second } = optimizer!.moments.get(name)!;
    const entry = (key: string) => bytesOf(twin.get(`optimizer/state/${number}/${key}`)!.read());
    assert.deepEqual(bytesOf(first.read()), entry('exp_avg'), name);
    assert.deepEqual(bytesOf(second.read()), entry('exp_avg_sq'), name);
  }
}

for (const kind of ['vit', 'rn'] as const) {
  const file = `${kind}-train.pt`;
  const run = referenceRuns[kind];

  test(`${file}: steps, hyper-parameters and moments by name, as PyTorch reads them`, () => {
    const { epoch, step, name, optimizer } = trainingOf(file);
    assert.deepEqual([epoch, step, name], [1, 3, `tiny-${kind}`]);
    const { moments: _, ...factors } = optimizer!;
    const learningRate = run.taken_lrs.at(-1);
    const { wd: weightDecay, beta1, beta2, eps: epsilon } = run;
    assert.deepEqual(factors, { step: 3, learningRate, weightDecay, beta1, beta2, epsilon });
    assertState(`${kind}-train`, run.optimizer_names);
  });

  test(`${file}: two more steps give the reference’s losses and weights; the .pt of them reads back`, async () => {
    const path = torchFixture(file);
    const trainer = await trainerOf(file, kind);
    trainer.restore(openCheckpoint(path).training(), path);
    const data = readSafetensors(torchFixture(`${kind}-steps.safetensors`));
    for (const [i, expected] of run.losses.entries()) {
      const { loss, learningRate } = await trainer.step(batch(data, 3 + i));
      assert.ok(Math.abs(loss - expected) < tolerance.loss, `loss ${loss}, expected ${expected}`);
      assert.ok(Math.abs(learningRate - run.lrs[i]) < 1e-12);
    }
    const after = readSafetensors(torchFixture(`${kind}-after.safetensors`));
    assert.deepEqual([...trainer.weights.keys()].sort(), [...after.keys()].sort());
    for (const [name, { data: weights }] of trainer.weights) {
      const expected = Float32Array.from(after.get(name)!.data as Float32Array | BigInt64Array, Number);
      assert.ok(maxDifference(weights, expected) < tolerance.weights, name);
    }

    const out = join(folder, file);
    const training = { epoch: 2, step: 5, name: 'resumed', optimizer: trainer.optimizerState };
    writeTorchCheckpoint(out, trainer.model.tensors, training);
    const written = openCheckpoint(out);
    const { optimizer, ...position } = written.training()!;
    assert.deepEqual(position, { epoch: 2, step: 5, name: 'resumed' });
    assert.equal(optimizer!.step, 5);
    assertSameState(optimizer!, trainer.optimizerState);
    for (const [name, tensor] of trainer.model.tensors) {
      assert.deepEqual(bytesOf(written.tensors.get(name)!.read()), bytesOf(tensor.read()), name);
    }
    assertNumbering(out, trainer, run.optimizer_names);
    await disposeOf(trainer);
  });
}

/** The optimizer of a file lists the moments of `names` in this order, as the reference's optimizer would. */
function assertNumbering(path: string, trainer: Trainer, names: readonly string[]): void {
  const root = readTorchArchive(new RangedFile(path));
  assert.ok(root instanceof Map);
  const optimizer = root.get('optimizer');
  assert.ok(optimizer instanceof Map);
  const state = optimizer.get('state');
  assert.ok(state instanceof Map);
  assert.deepEqual(
    [...state.keys()],
    names.map((_, number) => number),
  );
  for (const [number, name] of names.entries()) {
    const entry = state.get(number);
    assert.ok(entry instanceof Map);
    const first = entry.get('exp_avg');
    assert.ok(first instanceof TorchTensor);
    assert.deepEqual(first.shape, trainer.model.weights.get(name)!.shape, name);
    assert.deepEqual(bytesOf(first.read()), bytesOf(trainer.moments.get(name)!.first.read()), name);
  }
}

for (const [form, file] of [
  ['of PyTorch 1.11, steps as numbers', 'vit-train-oldopt.pt'],
  ['with the keys of later versions', 'vit-train-newopt.pt'],
  ['with numpy 2’s numbers', 'vit-train-numpy2.pt'],
  ['of PyTorch 2', 'vit-train-torch2.pt'],
  ['saved before PyTorch 1.6', 'vit-train-legacy.pt'],
]) {
  test(`an optimizer ${form} gives the same state`, () => {
    const { optimizer, ...position } = trainingOf(file);
    const { optimizer: expected, ...expectedPosition } = trainingOf('vit-train.pt');
    assert.deepEqual(position, expectedPosition);
    assertSameState(optimizer!, expected!);
  });
}

const refusal = (message: RegExp) => (error: unknown) =>
  error instanceof UserError && message.test(error.message);

/** Neither steps nor moments were taken over. */
function assertUntouched(trainer: Trainer): void {
  assert.deepEqual([trainer.stepCount, trainer.updateCount], [0, 0]);
  for (const { first } of trainer.moments.values()) assert.ok(first.read().every((value) => value === 0));
}

test('a run with the image tower locked goes on locked, and is refused otherwise', async () => {
  const file = 'vit-train-frozen.pt';
  const path = torchFixture(file);
  const names = referenceRuns['vit-frozen'].optimizer_names;
  assert.ok(!names.some(isVisionParameter));
  assertState('vit-train-frozen', names);

  const locked = await trainerOf(file, 'vit', true);
  locked.restore(trainingOf(file), path);
  assert.deepEqual([locked.stepCount, locked.updateCount], [3, 3]);
  assert.deepEqual([...locked.moments.keys()].sort(), [...names].sort());
  const { moments } = trainingOf(file).optimizer!;
  for (const [name, { first, second }] of locked.moments) {
    assert.deepEqual(bytesOf(first.read()), bytesOf(moments.get(name)!.first.read()), name);
    assert.deepEqual(bytesOf(second.read()), bytesOf(moments.get(name)!.second.read()), name);
  }
  await disposeOf(locked);

  const whole = await trainerOf(file, 'vit');
  assert.throws(() => whole.restore(trainingOf(file), path), refusal(/'visual\.\S+\.exp_avg' is missing/));
  assertUntouched(whole);
  await disposeOf(whole);

  const other = await trainerOf('vit-train.pt', 'vit', true);
  const unlocked = trainingOf('vit-train.pt');
  assert.throws(() => other.restore(unlocked, path), refusal(/trained 'visual\.\S+', which is locked here/));
  assertUntouched(other);
  await disposeOf(other);
});
