import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadModelConfig } from '../src/model/config.js';
import { encodeViT } from '../src/model/vit.js';
import { keptPatchCount, keptTokens } from '../src/train/masking.js';
import { createTrainer } from '../src/train/trainer.js';
import { engines, maxDifference, onnx, randomBatch, tinyModel, trainerDefaults } from './support.js';

const config = tinyModel(onnx).config; // 4 × 4 patches

test('as many patches stay as in the reference: the part of a whole number is cut', () => {
  assert.equal(keptPatchCount(config, 0.5), 8);
  assert.equal(keptPatchCount(config, 0.3), 11);
  assert.equal(keptPatchCount(loadModelConfig('ViT-B-16', { vocabSize: 100 }), 0.75), 49);
});

test('each sample of each step has a random set of its own, whatever part of the batch it is in', () => {
  const draw = (seed: number, step: number, first: number, n: number) =>
    keptTokens(config, 0.5, { seed, step, first, n });
  const whole = draw(3, 5, 0, 6);
  const tokens = 17;
  const part = draw(3, 5, 4, 2);
  assert.deepEqual(
    [...part],
    [...whole.subarray(4 * 8)].map((place) => place - 4 * tokens),
  );
  const sets = new Set<string>();
  for (let i = 0; i < 6; i++) {
    const places = [...whole.subarray(i * 8, (i + 1) * 8)].map((place) => place - i * tokens);
    assert.equal(new Set(places).size, 8);
    // The class token, place 0, is not among what is drawn.
    assert.ok(places.every((place) => place >= 1 && place < tokens));
    sets.add(places.sort((a, b) => a - b).join());
  }
  for (const [seed, step] of [
    [4, 5],
    [3, 6],
  ])
    sets.add(draw(seed, step, 0, 1).sort().join());
  assert.equal(sets.size, 8);
  const counts = new Int32Array(tokens);
  for (let step = 0; step < 400; step++) for (const place of draw(0, step, 0, 1)) counts[place]++;
  assert.ok(
    counts.subarray(1).every((count) => count > 150 && count < 250),
    `${counts}`,
  );
});

for (const engine of engines) {
  test(`${engine.description}: all patches in another order give the same features, half of them others`, async () => {
    const model = tinyModel(engine);
    const { pixels } = randomBatch(config, 2, 4, 'mask');
    const program = async (kept: number) =>
      engine.compile(
        (inputs) => ({
          features: encodeViT(config as never, inputs, inputs.pixels, { keptTokens: inputs.keptTokens }),
        }),
        {
          inputs: {
            pixels: { shape: ['n', 3, 32, 32], dtype: 'float32' },
            keptTokens: { shape: ['n', kept], dtype: 'int32' },
            ...model.weightSpecs((name) => name.startsWith('visual.')),
          },
        },
      );
    const encode = async (places: Int32Array) => {
      const kept = places.length / 2;
      const feeds = { ...model.feeds, pixels: { data: pixels, shape: [2, 3, 32, 32] } };
      const { features } = await (await program(kept)).run({
        ...feeds,
        keptTokens: { data: places, shape: [2, kept] },
      });
      return features.data;
    };
    const draw = (ratio: number) => keptTokens(config, ratio, { seed: 1, step: 0, first: 0, n: 2 });
    const all = await model.encodeImages(pixels, 2);
    assert.ok(maxDifference(await encode(draw(0)), all) < 1e-5);
    assert.ok(maxDifference(await encode(draw(0.5)), all) > 1e-2);
  });

  test(`${engine.description}: a mask changes the loss from step to step, encoding sees all patches`, async () => {
    const model = tinyModel(engine);
    const trainer = await createTrainer(model, { ...trainerDefaults, learningRate: 1e-12, maskRatio: 0.5 });
    const batch = randomBatch(config, 4, 6, 'masked');
    const before = await model.encodeImages(batch.pixels, 4);
    const first = await trainer.step(batch);
    const second = await trainer.step(batch);
    assert.ok(Math.abs(first.loss - second.loss) > 1e-4);
    assert.ok(maxDifference(await model.encodeImages(batch.pixels, 4), before) < 1e-5);
  });
}
