import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import loadWabt from 'wabt';
import { adamwModule, updateAdamW } from '../src/engine/onnx/adamw.js';
import { Optimizer } from '../src/engine/onnx/optimizer.js';
import { ArrayTensor } from '../src/engine/onnx/tensors.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { bytesOf } from '../src/io/readFile.js';
import { loadModelConfig } from '../src/model/config.js';
import { Random } from '../src/random.js';
import { adamwFactors, defaultAdamW, isDecayed } from '../src/train/adamw.js';

test('the module in adamw.ts is what adamw.wat assembles to', async () => {
  const wabt = await loadWabt();
  const source = readFileSync(join(packageRoot, 'src', 'engine', 'onnx', 'adamw.wat'), 'utf8');
  const { buffer } = wabt.parseWat('adamw.wat', source, { simd: true }).toBinary({});
  assert.equal(adamwModule, Buffer.from(buffer).toString('base64'), 'put the second string into adamw.ts');
});

test('updates match the definition, whatever the length', () => {
  const options = { weightDecay: 0.2, beta1: 0.9, beta2: 0.98, epsilon: 1e-6 };
  for (const length of [1, 3, 4, 5, 16_383, 16_384, 16_387, 40_001]) {
    const random = new Random(length);
    const draw = () => Float32Array.from({ length: length + 3 }, () => random.normal());
    const [weight, gradient, first] = [draw(), draw(), draw()];
    const second = draw().map(Math.abs);
    const before = [weight, first, second].map((array) => Float64Array.from(array));
    const factors = adamwFactors(options, 'visual.proj', 1e-3, 7);
    const part = (array: Float32Array) => array.subarray(0, length);
    updateAdamW(part(weight), part(gradient), part(first), part(second), factors);
    for (let i = 0; i < length; i++) {
      const m = before[1][i] * 0.9 + gradient[i] * 0.1;
      const v = before[2][i] * 0.98 + gradient[i] ** 2 * 0.02;
      const update = m / (1 - 0.9 ** 7) / (Math.sqrt(v / (1 - 0.98 ** 7)) + 1e-6);
      const expected = before[0][i] * (1 - 1e-3 * 0.2) - 1e-3 * update;
      assert.ok(
        Math.abs(weight[i] - expected) < 1e-6 * Math.max(1, Math.abs(expected)),
        `weight ${i} of ${length}`,
      );
      assert.ok(Math.abs(first[i] - m) < 1e-6 * Math.max(1, Math.abs(m)));
      assert.ok(Math.abs(second[i] - v) < 1e-6 * Math.max(1, v));
    }
    // What lies behind the array's end belongs to somebody else.
    for (let i = length; i < length + 3; i++) assert.equal(weight[i], before[0][i]);
  }
});

test('parameters that threads update get the same bits, in whatever memory they lie', async () => {
  const optimizer = new Optimizer();
  const random = new Random(5);
  const draw = (length: number) => Float32Array.from({ length }, () => random.normal() ** 2);
  const part = (length: number) => draw(length + 2).subarray(1, length + 1);
  const updates = [draw(300_000), part(400_000), draw(3), draw(280_000), draw(700_001)].map((weight, i) => {
    const [first, second] = [draw(weight.length), draw(weight.length)];
    const tensors = [weight, draw(weight.length), first, second].map(
      (data) => new ArrayTensor([data.length], data),
    );
    const factors = adamwFactors(
      { weightDecay: 0.2, beta1: 0.9, beta2: 0.98, epsilon: 1e-6 },
      'w',
      1e-3,
      i + 1,
    );
    return { tensors, factors, expected: tensors.map(({ data }) => data.slice()) };
  });
  for (let step = 0; step < 3; step++) {
    await optimizer.update(
      updates.map(({ tensors: [weight, gradient, first, second], factors }) => ({
        weight,
        gradient,
        moments: { first, second },
        factors,
      })),
    );
    for (const { tensors, factors, expected } of updates) {
      const [weight, gradient, first, second] = expected;
      updateAdamW(weight, gradient, first, second, factors);
      assert.ok(tensors[0].isChanged);
      for (const [i, { data }] of tensors.entries()) assert.deepEqual(bytesOf(data), bytesOf(expected[i]));
    }
  }
  await optimizer.close();
});

test('the defaults are those of the reference for the kind of image tower', () => {
  const shared = { weightDecay: 0.2, beta1: 0.9 };
  assert.deepEqual(defaultAdamW(loadModelConfig('RN50')), { ...shared, beta2: 0.999, epsilon: 1e-8 });
  assert.deepEqual(defaultAdamW(loadModelConfig('ViT-H-14')), { ...shared, beta2: 0.98, epsilon: 1e-6 });
});

test('norms, biases and the temperature are not decayed; everything else is', () => {
  const decays = (name: string) =>
    adamwFactors({ weightDecay: 0.5, beta1: 0, beta2: 0, epsilon: 1 }, name, 0.1, 1).decay;
  assert.equal(decays('visual.ln_pre.weight'), 1);
  assert.equal(decays('logit_scale'), 1);
  assert.equal(decays('bert.encoder.layer.0.output.dense.bias'), 1);
  assert.equal(decays('bert.embeddings.LayerNorm.weight'), 0.95);
  assert.ok(isDecayed('visual.class_embedding'));
});
