import { Random } from '../random.js';

/** The middle part of a distribution: from `low` to `high`. */
export interface Interval {
  low: number;
  high: number;
}

export interface BootstrapOptions {
  /** equal seeds draw equal resamples, whatever is computed of them */
  seed?: number;
  resamples?: number;
  /** share of the resamples that lie within the interval */
  confidence?: number;
}

/** How two models differ on the same samples. */
export interface PairedTest {
  /** mean of the first less mean of the second */
  difference: number;
  /** bootstrap interval of the difference */
  interval: Interval;
  /** samples that only the first, or only the second, has right */
  onlyFirst: number;
  onlySecond: number;
  /** of McNemar's exact test: how likely so uneven a split is where both are equally good */
  pValue: number;
}

/**
 * The percentile bootstrap (Efron, 1979): samples are drawn with replacement, as many as there are, and the statistic
 * of each such resample is computed.
 *
 * @param n number of samples
 * @param statistic of a resample, told how often each of the n samples was drawn; the array is used again
 * @returns the interval that holds the middle `confidence` of the statistics, 95 % by default. Statistics that are
 * NaN (a class that was not drawn) are left out; without any other the interval is NaN.
 */
export function bootstrapInterval(
  n: number,
  statistic: (counts: Uint32Array) => number,
  { seed = 0, resamples = 1000, confidence = 0.95 }: BootstrapOptions = {},
): Interval {
  const random = new Random(seed, 'bootstrap');
  const counts = new Uint32Array(n);
  const statistics: number[] = [];
  for (let resample = 0; resample < resamples; resample++) {
    counts.fill(0);
    for (let i = 0; i < n; i++) counts[Math.floor(random.uniform() * n)]++;
    const value = statistic(counts);
    if (!Number.isNaN(value)) statistics.push(value);
  }
  const sorted = Float64Array.from(statistics).sort();
  return { low: quantile(sorted, (1 - confidence) / 2), high: quantile(sorted, (1 + confidence) / 2) };
}

/** The bootstrap interval of a mean, such as accuracy or recall, whose values are 0 or 1. */
export function meanInterval(values: ArrayLike<number>, options?: BootstrapOptions): Interval {
  return bootstrapInterval(values.length, (counts) => weightedMean(values, counts), options);
}

/**
 * Compares two models by what each has right (1) or wrong (0) of the same samples: the paired bootstrap of the
 * difference, and McNemar's exact test of the samples on which they disagree.
 *
 * @throws RangeError unless both have values for the same samples
 */
export function pairedTest(
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  options?: BootstrapOptions,
): PairedTest {
  if (first.length !== second.length) {
    throw new RangeError(`paired values of ${first.length} and ${second.length} samples`);
  }
  const differences = Float64Array.from({ length: first.length }, (_, i) => first[i] - second[i]);
  const onlyFirst = differences.reduce((count, difference) => count + (difference > 0 ? 1 : 0), 0);
  const onlySecond = differences.reduce((count, difference) => count + (difference < 0 ? 1 : 0), 0);
  return {
    difference: differences.reduce((sum, difference) => sum + difference, 0) / differences.length,
    interval: meanInterval(differences, options),
    onlyFirst,
    onlySecond,
    pValue: mcnemar(onlyFirst, onlySecond),
  };
}

/**
 * McNemar's exact test: the two-sided p value of a fair coin that shows one side `onlyFirst` times and the other
 * `onlySecond` times.
 */
export function mcnemar(onlyFirst: number, onlySecond: number): number {
  const n = onlyFirst + onlySecond;
  let logProbability = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= Math.min(onlyFirst, onlySecond); k++) {
    tail += Math.exp(logProbability);
    logProbability += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}

/** Linear interpolation between the two nearest order statistics, as numpy.quantile does. */
function quantile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)];
  return below + (sorted[Math.ceil(place)] - below) * (place - Math.floor(place));
}

function weightedMean(values: ArrayLike<number>, counts: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += counts[i] * values[i];
  return sum / values.length;
}
