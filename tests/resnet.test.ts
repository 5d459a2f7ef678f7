import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { stringify } from 'yaml';
import { pretrainSchema } from '../src/config/pretrain.js';
import { readSafetensors } from '../src/io/safetensors.js';
import type { Reporter } from '../src/io/terminal.js';
import { isBuffer, isVisionParameter } from '../src/model/parameters.js';
import { pretrain } from '../src/train/pretrain.js';
import { createTrainer } from '../src/train/trainer.js';
import { runCli } from './runCli.js';
import {
  bytesOf,
  engines,
  fixture,
  maxDifference,
  onnx,
  randomBatch,
  readJson,
  snapshot,
  temporaryDirectory,
  tfjs,
  tinyModel,
  tinyResNet,
  trainerDefaults,
} from './support.js';

const NORM = 'visual.layer2.1.bn2';
const folder = temporaryDirectory();

for (const engine of engines) {
  test(`${engine.description}: steps change the running statistics, and evaluation goes by them`, async () => {
    const model = tinyResNet(engine);
    const trainer = await createTrainer(model, { ...trainerDefaults, learningRate: 0 });
    const batch = randomBatch(model.config, 4, 6, 'statistics');
    const statistic = (part: string) => model.weights.get(`${NORM}.${part}`)!.read().slice();
    const initial = await model.encodeImages(batch.pixels, batch.n);
    const before = snapshot(trainer.weights);

    const { gradients } = await trainer.lossAndGradients(batch);
    assert.ok([...gradients.keys()].every((name) => !isBuffer(name)));
    for (const [name, { data }] of trainer.weights)
      assert.deepEqual(bytesOf(data), bytesOf(before.get(name)!));

    await trainer.step(batch);
    assert.equal(statistic('num_batches_tracked')[0], 1);
    const [mean, variance] = [statistic('running_mean'), statistic('running_var')];
    await trainer.step(batch);
    assert.equal(statistic('num_batches_tracked')[0], 2);
    // At learning rate 0 both steps see the same statistics b: they bring m·0 + 0.1·b, then 0.9 of it + 0.1·b.
    const expectedMean = mean.map((value) => 1.9 * value);
    const expectedVariance = variance.map((value) => 0.9 * value + (value - 0.9));
    assert.ok(maxDifference(statistic('running_mean'), expectedMean) < 1e-6);
    assert.ok(maxDifference(statistic('running_var'), expectedVariance) < 1e-6);

    // The weights are what they were: what changed the features is the statistics.
    for (const [name, { data }] of trainer.weights) {
      if (!isBuffer(name)) assert.deepEqual(bytesOf(data), bytesOf(before.get(name)!), name);
    }
    const trained = await model.encodeImages(batch.pixels, batch.n);
    assert.ok(maxDifference(trained, initial) > 1e-2);
    for (const [name, tensor] of model.weights) if (isBuffer(name)) tensor.write(before.get(name)!);
    assert.deepEqual(bytesOf(await model.encodeImages(batch.pixels, batch.n)), bytesOf(initial));
    await trainer.dispose();
    await model.dispose();
  });

  test(`${engine.description}: a locked tower is in evaluation, and its statistics stay as they are`, async () => {
    const model = tinyResNet(engine);
    const open = await createTrainer(model, trainerDefaults);
    await open.step(randomBatch(model.config, 4, 6, 'before'));
    await open.dispose();
    const before = snapshot(
      new Map([...model.weights].map(([name, tensor]) => [name, { data: tensor.read() }])),
    );
    const trainer = await createTrainer(model, { ...trainerDefaults, freezeVision: true });
    const { pixels, ...texts } = randomBatch(model.config, 4, 6, 'locked');
    const imageFeatures = await model.encodeImages(pixels, texts.n);
    const fromPixels = await trainer.lossAndGradients({ ...texts, pixels });
    const fromFeatures = await trainer.lossAndGradients({ ...texts, imageFeatures });
    assert.equal(fromPixels.loss, fromFeatures.loss);
    await trainer.step({ ...texts, pixels });
    for (const [name, { data }] of trainer.weights) {
      if (isVisionParameter(name)) assert.deepEqual(bytesOf(data), bytesOf(before.get(name)!), name);
    }
    // A single picture has features in evaluation, though nothing to train on at 32 pixels: that is one value a channel.
    const one = randomBatch(model.config, 1, 6, 'one');
    await trainer.step(one);
    const unlocked = await createTrainer(model, trainerDefaults);
    await assert.rejects(
      unlocked.step(one),
      /a ResNet of image_resolution 32 can't be trained on one picture/,
    );
    await trainer.dispose();
    await unlocked.dispose();
    await model.dispose();
  });
}

test('buffers are no parameters', () => {
  const model = tinyResNet(onnx);
  const { decay, no_decay: kept } = readJson<{ decay: string[]; no_decay: string[] }>(
    fixture('golden', 'rn', 'adamw.json'),
  );
  // The text tower of the figures has a layer less; the image tower has the same blocks.
  const trained = [...model.weights.keys()].filter((name) => isVisionParameter(name) && !isBuffer(name));
  assert.deepEqual(trained.sort(), [...decay, ...kept].filter(isVisionParameter).sort());
  const count = [...model.weights].reduce(
    (sum, [name, tensor]) => sum + (isBuffer(name) ? 0 : tensor.read().length),
    0,
  );
  assert.equal(model.parameterCount, count);
  assert.ok([...tinyModel(onnx).weights.keys()].every((name) => !isBuffer(name)));
});

test('the tfjs engine keeps no tensors of a ResNet from step to step', async () => {
  const before = tf.memory().numTensors;
  const model = tinyResNet(tfjs);
  const trainer = await createTrainer(model, trainerDefaults);
  const batch = randomBatch(model.config, 2, 6, 'memory');
  await trainer.step(batch);
  const afterOne = tf.memory().numTensors;
  await trainer.step(batch);
  await model.encodeImages(batch.pixels, batch.n);
  assert.equal(tf.memory().numTensors, afterOne);
  await trainer.dispose();
  await model.dispose();
  assert.equal(tf.memory().numTensors, before);
});

test('pretraining with a ResNet: stage 1 leaves its statistics, stopped and resumed ends with the same bits', async () => {
  const data = join(folder, 'data');
  cpSync(fixture('dataset'), data, { recursive: true });
  const vocabulary = join(data, 'vocab.txt');
  const built = await runCli(['data', 'build-vocab', '--data', data, '--out', vocabulary]);
  assert.equal(built.code, 0, built.stderr);
  const model = join(folder, 'resnet.yaml');
  const stage = { epochs: 2, batchSize: 8, learningRate: 0.001, warmupSteps: 2 };
  const { vocab_size: _, ...open } = tinyResNet(onnx).config;
  writeFileSync(model, stringify(open));
  const config = (output: string) =>
    pretrainSchema.parse({ model, data, split: 'valid', output, stage1: stage, stage2: stage });
  const reporter: Reporter = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };
  /** @param stopAfter steps to take at most */
  const run = (output: string, stopAfter = Infinity, stages: (1 | 2)[] = [1, 2]) => {
    let steps = 0;
    return pretrain(config(output), { stages, reporter, shouldStop: () => ++steps === stopAfter });
  };
  const whole = join(folder, 'whole');
  const finished = await run(whole);
  assert.ok(finished !== undefined);

  const parts = join(folder, 'parts');
  let stops = 0;
  while ((await run(parts, 3)) === undefined) assert.ok(++stops < 20, 'no end');
  assert.ok(stops > 2);
  const weights = (path: string) => readFileSync(join(path, 'model', 'model.safetensors'));
  assert.ok(weights(parts).equals(weights(whole)), 'weights differ');

  const tensors = readSafetensors(join(finished, 'model.safetensors'));
  assert.ok(Number(tensors.get(`${NORM}.num_batches_tracked`)!.data[0]) > 4);
  const stage1 = join(folder, 'stage1');
  await run(stage1, Infinity, [1]);
  const locked = readSafetensors(join(stage1, 'model', 'model.safetensors'));
  assert.equal(Number(locked.get(`${NORM}.num_batches_tracked`)!.data[0]), 0);
  for (const [name, { data }] of locked) {
    const initial = name.endsWith('.running_mean') ? 0 : name.endsWith('.running_var') ? 1 : undefined;
    if (initial === undefined) continue;
    assert.deepEqual(bytesOf(data), bytesOf(new Float32Array(data.length).fill(initial)), name);
  }
});
