import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type BootstrapOptions,
  bootstrapIntervals,
  mcnemar,
  meanOf,
  pairedTests,
  type Statistic,
} from '../src/eval/statistics.js';

function bootstrapInterval(n: number, statistic: Statistic) {
  return bootstrapIntervals(n, { statistic }).statistic;
}

function meanInterval(values: ArrayLike<number>, options?: BootstrapOptions) {
  return bootstrapIntervals(values.length, { mean: meanOf(values) }, options).mean;
}

/** `ones` ones, then zeros. */
function binary(ones: number, n: number): Uint8Array {
  return new Uint8Array(n).fill(1, 0, ones);
}

test("McNemar's exact test against sums of binomial coefficients in exact arithmetic", () => {
  for (const [first, second, expected] of [
    [10, 2, 0.03857421875],
    [5, 0, 0.0625],
    [3, 3, 1],
    [60, 40, 0.05688793364098079],
    [340, 400, 0.03002278740787739],
    [0, 0, 1],
  ]) {
    assert.ok(Math.abs(mcnemar(first, second) - expected) < 1e-10, `${first}, ${second}`);
    assert.equal(mcnemar(first, second), mcnemar(second, first));
  }
  assert.ok(mcnemar(5000, 4000) < 1e-20);
});

test('the interval of a mean is that of the binomial distribution, which resampling it follows', () => {
  // Quantiles of the binomial distribution of 400 trials at 0.7: 262 and 298 at 95 %, 265 and 295 at 90 %.
  const { low, high } = meanInterval(binary(280, 400), { resamples: 4000 });
  assert.ok(Math.abs(low * 400 - 262) <= 2 && Math.abs(high * 400 - 298) <= 2, `${low * 400}, ${high * 400}`);
  const narrow = meanInterval(binary(280, 400), { resamples: 4000, confidence: 0.9 });
  assert.ok(Math.abs(narrow.low * 400 - 265) <= 2 && Math.abs(narrow.high * 400 - 295) <= 2);
});

test('equal seeds give equal intervals, others do not', () => {
  const values = binary(30, 100);
  assert.deepEqual(meanInterval(values, { seed: 4 }), meanInterval(values, { seed: 4 }));
  assert.notDeepEqual(meanInterval(values, { seed: 4 }), meanInterval(values, { seed: 5 }));
});

test('a resample draws as many samples as there are; statistics that are NaN are left out', () => {
  const interval = bootstrapInterval(7, (counts) => {
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      7,
    );
    return counts[0] === 0 ? Number.NaN : 2;
  });
  assert.deepEqual(interval, { low: 2, high: 2 });
  assert.ok(Number.isNaN(bootstrapInterval(3, () => Number.NaN).low));
});

test('several statistics see the same resamples, and have the intervals that each has alone', () => {
  const [a, b] = [binary(30, 100), binary(70, 100)];
  const drawn: Uint32Array[] = [];
  const noting = (counts: Uint32Array) => drawn.push(counts.slice());
  const together = bootstrapIntervals(100, { a: meanOf(a), b: meanOf(b), first: noting, second: noting });
  assert.deepEqual(together.a, meanInterval(a));
  assert.deepEqual(together.b, meanInterval(b));
  assert.equal(drawn.length, 2 * 1000);
  assert.deepEqual(drawn[0], drawn[1]);
  assert.notDeepEqual(drawn[1], drawn[2]);
  // To the last bit what scores.json of earlier versions holds.
  assert.deepEqual(together.a, { low: 0.22, high: 0.38 });
});

test('two models on the same samples', () => {
  // Both right: 50, only the first: 10, only the second: 2, neither: 38.
  const first = [...Array(60).fill(1), ...Array(40).fill(0)];
  const second = [...Array(50).fill(1), ...Array(10).fill(0), 1, 1, ...Array(38).fill(0)];
  const { difference, interval, onlyFirst, onlySecond, pValue } = pairedTests(
    { accuracy: first },
    { accuracy: second },
    { resamples: 4000 },
  ).accuracy;
  assert.ok(Math.abs(difference - 0.08) < 1e-12);
  assert.deepEqual([onlyFirst, onlySecond], [10, 2]);
  assert.ok(Math.abs(pValue - 0.03857421875) < 1e-12);
  // The standard error of a mean of differences: sqrt((0.12 − 0.08²) / 100) = 0.0337.
  assert.ok(Math.abs(interval.low - (0.08 - 1.96 * 0.0337)) < 0.011, String(interval.low));
  assert.ok(Math.abs(interval.high - (0.08 + 1.96 * 0.0337)) < 0.011, String(interval.high));
  assert.throws(() => pairedTests({ a: [1, 0] }, { a: [1] }), /2 and 1 samples/);
});
