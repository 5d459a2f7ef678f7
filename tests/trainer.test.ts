import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, Feeds, HostTensor, Program } from '../src/engine/engine.js';
import { isVisionParameter } from '../src/model/parameters.js';
import { createTrainer, type Trainer, type TrainingBatch } from '../src/train/trainer.js';
import {
  assertSameBits,
  assertSameGradients,
  bytesOf,
  engines,
  maxDifference,
  onnx,
  randomBatch,
  snapshot,
  tfjs,
  tinyModel,
  trainerDefaults,
} from './support.js';

async function takeSteps(trainer: Trainer, batches: TrainingBatch[]): Promise<number[]> {
  const losses: number[] = [];
  for (const batch of batches) losses.push((await trainer.step(batch)).loss);
  return losses;
}

test('the same steps on the onnx engine give the same bits', async () => {
  const outcomes = [];
  for (let run = 0; run < 2; run++) {
    const model = tinyModel(onnx);
    const trainer = await createTrainer(model, { ...trainerDefaults, dropout: true });
    const batches = [0, 1, 2].map((i) => randomBatch(model.config, 6, 11 + i, i));
    const losses = await takeSteps(trainer, batches);
    const moments = [...trainer.moments].map(([name, { first, second }]): [string, Float32Array[]] => [
      name,
      [first.read(), second.read()],
    ]);
    outcomes.push({ losses, weights: snapshot(trainer.weights), moments: new Map(moments) });
  }
  assert.deepEqual(outcomes[0].losses, outcomes[1].losses);
  assertSameBits(outcomes[0].weights, outcomes[1].weights);
  for (const [name, [first, second]] of outcomes[0].moments) {
    assert.deepEqual(bytesOf(first), bytesOf(outcomes[1].moments.get(name)![0]), name);
    assert.deepEqual(bytesOf(second), bytesOf(outcomes[1].moments.get(name)![1]), name);
  }
});

test('with dropout both engines agree, and the loss is another than without', async () => {
  const run = async (engine: typeof onnx, dropout: number | boolean, seed: number) => {
    const model = tinyModel(engine);
    const trainer = await createTrainer(model, { ...trainerDefaults, dropout, seed });
    return trainer.lossAndGradients(randomBatch(model.config, 5, 9, 'dropout'));
  };
  const recorded = await run(onnx, 0.3, 7);
  const eager = await run(tfjs, 0.3, 7);
  assert.ok(Math.abs(recorded.loss - eager.loss) < 1e-5);
  assertSameGradients(recorded.gradients, eager.gradients);
  const { loss: without } = await run(onnx, false, 7);
  const { loss: otherSeed } = await run(onnx, 0.3, 8);
  const { loss: configured } = await run(onnx, true, 7);
  assert.equal(new Set([recorded.loss, without, otherSeed, configured]).size, 4);
});

test('every step and every site draws dropout factors of its own', async () => {
  const fed: Feeds[] = [];
  const listening: Engine = Object.create(onnx, {
    compile: {
      value: async (...given: Parameters<Engine['compile']>): Promise<Program> => {
        const program = await onnx.compile(...given);
        const run: Program['run'] = (feeds, into) => {
          fed.push(feeds);
          return program.run(feeds, into);
        };
        return { run, dispose: () => program.dispose() };
      },
    },
  });
  const model = tinyModel(listening);
  const trainer = await createTrainer(model, { ...trainerDefaults, dropout: 0.5 });
  const batch = randomBatch(model.config, 3, 6, 'draws');
  await takeSteps(trainer, [batch, batch]);
  const draws = fed.flatMap((feeds) =>
    Object.entries(feeds)
      .filter(([name]) => name.startsWith('dropout.'))
      .map(([, factors]) => (factors as HostTensor).data.slice(0, 60).join()),
  );
  assert.equal(draws.length, 2 * 7);
  assert.equal(new Set(draws).size, draws.length);
});

for (const engine of engines) {
  test(`${engine.description}: a locked image tower stays as it is, from pixels or from features`, async () => {
    const weights = [];
    for (const fromFeatures of [false, true]) {
      const model = tinyModel(engine);
      const before = new Map([...model.weights].map(([name, tensor]) => [name, tensor.read().slice()]));
      const trainer = await createTrainer(model, { ...trainerDefaults, freezeVision: true });
      for (const i of [0, 1]) {
        const { pixels, ...texts } = randomBatch(model.config, 4, 8, i);
        const imageFeatures = fromFeatures ? await model.encodeImages(pixels, texts.n) : undefined;
        await trainer.step(fromFeatures ? { ...texts, imageFeatures } : { ...texts, pixels });
      }
      const after = snapshot(trainer.weights);
      for (const [name, values] of before) {
        const same = bytesOf(values).equals(bytesOf(after.get(name)!));
        if (isVisionParameter(name)) assert.ok(same, name);
        if (name === 'text_projection') assert.ok(!same, name);
      }
      weights.push(after);
      await trainer.dispose();
    }
    assertSameBits(weights[0], weights[1]);
  });
}

test('padding the texts of a batch further changes nothing', async () => {
  const model = tinyModel(onnx);
  const trainer = await createTrainer(model, trainerDefaults);
  const short = randomBatch(model.config, 5, 9, 'short');
  const length = 16;
  const ids = new Int32Array(short.n * length);
  for (let i = 0; i < short.n; i++) {
    ids.set(short.ids.subarray(i * short.length, (i + 1) * short.length), i * length);
  }
  const long = { ...short, ids, length };
  const features = await model.encodeTexts(short.ids, short.n, short.length);
  assert.ok(maxDifference(await model.encodeTexts(ids, long.n, length), features) < 1e-5);
  const expected = await trainer.lossAndGradients(short);
  const actual = await trainer.lossAndGradients(long);
  assert.ok(Math.abs(actual.loss - expected.loss) < 1e-5);
  assertSameGradients(actual.gradients, expected.gradients);
});

test('logit_scale stays within [0, 4.6052]', async () => {
  for (const [start, expected] of [
    [4.7, 4.6052],
    [-0.1, 0],
  ]) {
    const model = tinyModel(onnx);
    const trainer = await createTrainer(model, { ...trainerDefaults, learningRate: 1e-4 });
    model.weights.get('logit_scale')!.write(Float32Array.of(start));
    const { logitScale } = await trainer.step(randomBatch(model.config, 3, 6, 'clamp'));
    assert.equal(trainer.weights.get('logit_scale')!.data[0], Math.fround(expected));
    assert.ok(Math.abs(logitScale - Math.exp(expected)) < 1e-4);
  }
});

for (const engine of engines) {
  test(`${engine.description}: lossAndGradients changes nothing`, async () => {
    const model = tinyModel(engine);
    const trainer = await createTrainer(model, { ...trainerDefaults, dropout: 0.2 });
    const batch = randomBatch(model.config, 4, 7, 'pure');
    await trainer.step(batch);
    const weights = snapshot(trainer.weights);
    const first = await trainer.lossAndGradients(batch);
    const kept = new Map([...first.gradients].map(([name, values]) => [name, values.slice()]));
    const second = await trainer.lossAndGradients(batch);
    assert.equal(second.loss, first.loss);
    assertSameBits(first.gradients, second.gradients);
    assertSameBits(snapshot(trainer.weights), weights);
    assert.equal(trainer.stepCount, 1);
    // A step moves on, and what was handed out stays as it was.
    await trainer.step(batch);
    assertSameBits(first.gradients, kept);
    assert.equal(trainer.stepCount, 2);
  });
}

test('a batch that does not fit is an error that names what is wrong', async () => {
  const model = tinyModel(onnx);
  const trainer = await createTrainer(model, trainerDefaults);
  const locked = await createTrainer(model, { ...trainerDefaults, freezeVision: true });
  const batch = randomBatch(model.config, 3, 6, 'wrong');
  const { pixels, ...texts } = batch;
  const withId = (id: number) => ({ ...batch, ids: batch.ids.map((value, i) => (i === 2 ? id : value)) });
  const rejections: [() => Promise<unknown>, RegExp][] = [
    [() => trainer.step(randomBatch(model.config, 0, 6)), /the batch is empty/],
    [() => trainer.step(texts), /the batch has no pixels/],
    [() => trainer.step({ ...batch, pixels: pixels.subarray(1) }), /pixels: 9215 values, expected 9216/],
    [() => trainer.step({ ...batch, ids: batch.ids.subarray(1) }), /ids: 17 values, expected 18 for \[3,6\]/],
    [() => trainer.step(withId(300)), /token id 300 is outside the model's vocabulary of 300 word pieces/],
    [() => trainer.step(withId(-1)), /token id -1 is outside/],
    [() => trainer.step(randomBatch(model.config, 3, 65)), /texts of 65 tokens exceed 64 positions/],
    [
      () => locked.step({ ...texts, imageFeatures: new Float32Array(64) }),
      /imageFeatures: 64 values, expected 96/,
    ],
    [() => model.encodeImages(pixels, 2), /pixels: 9216 values, expected 6144/],
    [() => model.encodeTexts(batch.ids, 2, 6), /ids: 18 values, expected 12/],
  ];
  const before = snapshot(trainer.weights);
  for (const [step, message] of rejections) await assert.rejects(step, message);
  assertSameBits(snapshot(trainer.weights), before);
  assert.equal(trainer.stepCount, 0);
});

test('the tfjs engine keeps no tensors from step to step, nor after the model is gone', async () => {
  const before = tf.memory().numTensors;
  const model = tinyModel(tfjs);
  const trainer = await createTrainer(model, { ...trainerDefaults, dropout: true });
  const batch = randomBatch(model.config, 3, 6, 'memory');
  await trainer.step(batch);
  const afterOne = tf.memory().numTensors;
  await trainer.step(batch);
  await model.encodeImages(batch.pixels, batch.n);
  await model.encodeTexts(batch.ids, batch.n, batch.length);
  assert.equal(tf.memory().numTensors, afterOne);
  await trainer.dispose();
  await model.dispose();
  assert.equal(tf.memory().numTensors, before);
});
