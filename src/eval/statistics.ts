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

/** A statistic of a resample, told how often each sample was drawn. The array is used again for the next resample. */
export type Statistic = (counts: Uint32Array) => number;

/**
 * The percentile bootstrap (Efron, 1979): samples are drawn with replacement, as many as there are, and statistics of
 * each such resample are computed. All of them see the same resamples, which are drawn once.
 *
 * @param n number of samples
 * @returns of each statistic, the interval that holds the middle `confidence` of its values, 95 % by default. Values
 * that are NaN (a class that was not drawn) are left out; without any other the interval is NaN.
 */
export function bootstrapIntervals<Name extends string>(
  n: number,
  statistics: Readonly<Record<Name, Statistic>>,
  { seed = 0, resamples = 1000, confidence = 0.95 }: BootstrapOptions = {},
): Record<Name, Interval> {
  const random = new Random(seed, 'bootstrap');
  const counts = new Uint32Array(n);
  const found = mapValues(statistics, (statistic) => ({ statistic, values: [] as number[] }));
  for (let resample = 0; resample < resamples; resample++) {
    counts.fill(0);
    for (let i = 0; i < n; i++) counts[Math.floor(random.uniform() * n)]++;
    for (const name in found) {
      const value = found[name].statistic(counts);
      if (!Number.isNaN(value)) found[name].values.push(value);
    }
  }
  return mapValues(found, ({ values }) => {
    const sorted = Float64Array.from(values).sort();
    return { low: quantile(sorted, (1 - confidence) / 2), high: quantile(sorted, (1 + confidence) / 2) };
  });
}

/** The mean of a resample of values, such as accuracy or recall, whose values are 0 or 1. */
export function meanOf(values: ArrayLike<number>): Statistic {
  return (counts) => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += counts[i] * values[i];
    return sum / values.length;
  };
}

/**
 * Compares two models by what each has right (1) or wrong (0) of the same samples, by one or several measures: the
 * paired bootstrap of the difference, and McNemar's exact test of the samples on which they disagree.
 *
 * @throws RangeError unless both have values for the same samples
 */
export function pairedTests<Name extends string>(
  first: Readonly<Record<Name, ArrayLike<number>>>,
  second: Readonly<Record<Name, ArrayLike<number>>>,
  options?: BootstrapOptions,
): Record<Name, PairedTest> {
  const differences = mapValues(first, (values, name) => {
    const others = second[name];
    if (values.length === others.length) return Float64Array.from(values, (value, i) => value - others[i]);
    throw new RangeError(`paired values of ${values.length} and ${others.length} samples`);
  });
  const [n] = Object.values<Float64Array>(differences).map(({ length }) => length);
  const intervals = bootstrapIntervals(n, mapValues(differences, meanOf), options);
  return mapValues(differences, (values, name) => {
    const onlyFirst = values.filter((value) => value > 0).length;
    const onlySecond = values.filter((value) => value < 0).length;
    return {
      difference: values.reduce((sum, value) => sum + value, 0) / values.length,
      interval: intervals[name],
      onlyFirst,
      onlySecond,
      pValue: mcnemar(onlyFirst, onlySecond),
    };
  });
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

function mapValues<Name extends string, From, To>(
  record: Readonly<Record<Name, From>>,
  of: (value: From, name: Name) => To,
): Record<Name, To> {
  const names = Object.keys(record) as Name[];
  return Object.fromEntries(names.map((name) => [name, of(record[name], name)])) as Record<Name, To>;
}
