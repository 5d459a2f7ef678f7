import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textDropoutSites } from '../src/model/bert.js';
import { loadModelConfig } from '../src/model/config.js';
import { dropoutFactors } from '../src/train/dropout.js';
import { bytesOf } from './support.js';

const length = 100_000;

/** 1 where a value is kept. */
const kept = (rate: number, key: number[]) =>
  dropoutFactors(length, rate, key).map((factor) => +(factor > 0));

/** Pearson's correlation. */
function correlation(a: Float32Array, b: Float32Array): number {
  const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] - meanA, b[i] - meanB];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

test('factors are a function of seed, step, site and position alone', () => {
  const factors = dropoutFactors(length, 0.1, [7, 3, 2]);
  assert.deepEqual(bytesOf(dropoutFactors(length, 0.1, [7, 3, 2])), bytesOf(factors));
  assert.deepEqual(bytesOf(dropoutFactors(10, 0.1, [7, 3, 2])), bytesOf(factors.subarray(0, 10)));
});

test('values are dropped at the rate, and the others scaled up by it', () => {
  for (const rate of [0.1, 0.5, 0.9]) {
    const factors = dropoutFactors(length, rate, [1, 2, 3]);
    const dropped = factors.reduce((count, factor) => count + +(factor === 0), 0);
    // Four standard deviations of a binomial.
    assert.ok(Math.abs(dropped / length - rate) < 4 * Math.sqrt((rate * (1 - rate)) / length));
    assert.deepEqual(
      [...new Set(factors)].sort((a, b) => a - b),
      [0, Math.fround(1 / (1 - rate))],
    );
  }
  assert.ok(dropoutFactors(length, 0, [1]).every((factor) => factor === 1));
});

test('neighbours in position, step, site and seed are unrelated', () => {
  const bound = 4.5 / Math.sqrt(length);
  const base = kept(0.3, [7, 3, 2]);
  const others = [
    [8, 3, 2],
    [7, 4, 2],
    [7, 3, 3],
    [3, 7, 2],
    [7, 2, 3],
  ];
  for (const key of others) assert.ok(Math.abs(correlation(base, kept(0.3, key))) < bound, `[${key}]`);
  for (const lag of [1, 2, 32, 768]) {
    const shifted = correlation(base.subarray(0, length - lag), base.subarray(lag));
    assert.ok(Math.abs(shifted) < bound, `lag ${lag}`);
  }
});

test('the text tower drops after the embeddings, in the attention and after both blocks of each layer', () => {
  const config = loadModelConfig('tiny');
  const sites = textDropoutSites(config, 'n', 'length', true);
  assert.deepEqual(
    sites.map(({ name, rate, shape }) => `${name} ${rate} [${shape}]`),
    [
      'dropout.embeddings 0.1 [n,length,32]',
      'dropout.0.probabilities 0.1 [n,2,length,length]',
      'dropout.0.attention 0.1 [n,length,32]',
      'dropout.0.output 0.1 [n,length,32]',
      'dropout.1.probabilities 0.1 [n,2,1,length]',
      'dropout.1.attention 0.1 [n,1,32]',
      'dropout.1.output 0.1 [n,1,32]',
    ],
  );
  assert.deepEqual(textDropoutSites(config, 'n', 'length', false), []);
  assert.ok(textDropoutSites(config, 'n', 'length', 0.5).every(({ rate }) => rate === 0.5));
});
