import { UserError } from '../../errors.js';

/** Metrics of ELEVATER, by the names that it gives them. */
export const metricNames = ['accuracy', 'mean-per-class', '11point_mAP', 'roc_auc'] as const;
export type MetricName = (typeof metricNames)[number];

/** What a model says of each sample, and what is true. */
export interface Predictions {
  /** [samples, classes], row major */
  probabilities: Float32Array;
  classCount: number;
  /** the classes of each sample: one, or several where labels are given so */
  targets: readonly (readonly number[])[];
}

/** A metric of a data set whose samples are counted so often: once each by default. From 0 to 1. */
export type Metric = (counts?: Uint32Array) => number;

/**
 * Prepares a metric: what does not depend on the counts, such as the order by score, is computed once, so that
 * resamples are fast.
 *
 * - accuracy: share of samples whose most probable class is one of theirs
 * - mean-per-class: balanced accuracy, the mean over classes of the share of their samples that are right
 * - 11point_mAP: mean over classes of the average precision at recall 1.0, 0.9, …, 0.0: the highest precision where
 *   recall is at least that. As in scikit-learn's curve, which ELEVATER uses, precision is 1 at recall 0.
 * - roc_auc: area under the ROC curve of the second class's probability; ties count half
 *
 * Classes without samples are left out of the means.
 *
 * @throws UserError where the labels don't suit the metric
 */
export function prepareMetric(name: MetricName, predictions: Predictions): Metric {
  switch (name) {
    case 'accuracy':
      return accuracy(predictions);
    case 'mean-per-class':
      return balancedAccuracy(predictions);
    case '11point_mAP':
      return meanAveragePrecision(predictions);
    case 'roc_auc':
      return rocAuc(predictions);
  }
}

/** The most probable class of each sample; of equal ones the first. */
export function topClasses({ probabilities, classCount }: Predictions): Int32Array {
  return Int32Array.from({ length: probabilities.length / classCount }, (_, row) => {
    let best = row * classCount;
    for (let i = best + 1; i < (row + 1) * classCount; i++) {
      if (probabilities[i] > probabilities[best]) best = i;
    }
    return best - row * classCount;
  });
}

/** 1 for each sample whose most probable class is one of its own, else 0. */
export function correctness(predictions: Predictions): Uint8Array {
  return Uint8Array.from(topClasses(predictions), (top, i) => (predictions.targets[i].includes(top) ? 1 : 0));
}

function accuracy(predictions: Predictions): Metric {
  const correct = correctness(predictions);
  return (counts) => {
    let right = 0;
    let all = 0;
    for (let i = 0; i < correct.length; i++) {
      const count = counts?.[i] ?? 1;
      right += count * correct[i];
      all += count;
    }
    return right / all;
  };
}

function balancedAccuracy(predictions: Predictions): Metric {
  const { classCount, targets } = predictions;
  const classes = Int32Array.from(targets, (target) => onlyClass(target, 'mean-per-class'));
  const correct = correctness(predictions);
  return (counts) => {
    const right = new Float64Array(classCount);
    const all = new Float64Array(classCount);
    for (let i = 0; i < correct.length; i++) {
      const count = counts?.[i] ?? 1;
      right[classes[i]] += count * correct[i];
      all[classes[i]] += count;
    }
    return mean(right.map((value, i) => value / all[i]));
  };
}

function meanAveragePrecision(predictions: Predictions): Metric {
  const rankings = Array.from({ length: predictions.classCount }, (_, column) =>
    rankingOf(predictions, column),
  );
  return (counts) => mean(rankings.map((ranking) => averagePrecision(ranking, counts)));
}

/** Samples by a class's probability, highest first. */
interface Ranking {
  order: Int32Array;
  /** of the sample at each place of the order: whether it has the class */
  positive: Uint8Array;
  /** whether a place is the last with its probability: a threshold can only lie there */
  isEnd: Uint8Array;
}

function rankingOf({ probabilities, classCount, targets }: Predictions, column: number): Ranking {
  const score = (row: number) => probabilities[row * classCount + column];
  const order = Int32Array.from(targets.keys()).sort((a, b) => score(b) - score(a));
  return {
    order,
    positive: Uint8Array.from(order, (row) => (targets[row].includes(column) ? 1 : 0)),
    isEnd: Uint8Array.from(order, (row, i) =>
      i + 1 === order.length || score(order[i + 1]) !== score(row) ? 1 : 0,
    ),
  };
}

/** Recall thresholds as numpy.linspace(1, 0, 11) has them, the last bit included: recall may equal one. */
const RECALLS = Array.from({ length: 11 }, (_, i) => (i === 10 ? 0 : 1 + i * -0.1));

function averagePrecision({ order, positive, isEnd }: Ranking, counts: Uint32Array | undefined): number {
  let all = 0;
  for (let i = 0; i < order.length; i++) all += positive[i] * (counts?.[order[i]] ?? 1);
  if (all === 0) return Number.NaN;
  // The highest precision of each stretch of recall, from one threshold to the next.
  const best = new Float64Array(RECALLS.length);
  best[RECALLS.length - 1] = 1;
  let truePositives = 0;
  let taken = 0;
  for (let i = 0, at = RECALLS.length - 1; i < order.length; i++) {
    const count = counts?.[order[i]] ?? 1;
    taken += count;
    truePositives += count * positive[i];
    if (isEnd[i] === 0 || taken === 0) continue;
    const recall = truePositives / all;
    while (at > 0 && recall >= RECALLS[at - 1]) at--;
    best[at] = Math.max(best[at], truePositives / taken);
  }
  let highest = 0;
  let sum = 0;
  for (const precision of best) {
    highest = Math.max(highest, precision);
    sum += highest;
  }
  return sum / RECALLS.length;
}

function rocAuc(predictions: Predictions): Metric {
  if (predictions.classCount !== 2) {
    throw new UserError(`roc_auc is a metric of two classes, there are ${predictions.classCount}`);
  }
  for (const target of predictions.targets) onlyClass(target, 'roc_auc');
  const { order, positive, isEnd } = rankingOf(predictions, 1);
  return (counts) => {
    let area = 0;
    let [positives, negatives] = [0, 0];
    let [tiedPositives, tiedNegatives] = [0, 0];
    for (let i = 0; i < order.length; i++) {
      const count = counts?.[order[i]] ?? 1;
      if (positive[i] === 1) tiedPositives += count;
      else tiedNegatives += count;
      if (isEnd[i] === 0) continue;
      area += tiedNegatives * (positives + tiedPositives / 2);
      positives += tiedPositives;
      negatives += tiedNegatives;
      [tiedPositives, tiedNegatives] = [0, 0];
    }
    return area / (positives * negatives);
  };
}

function onlyClass(target: readonly number[], metric: MetricName): number {
  if (target.length === 1) return target[0];
  throw new UserError(
    `${metric} needs one class a picture, one has ${target.length}: use accuracy or 11point_mAP`,
  );
}

/** Of the values that are numbers. */
function mean(values: ArrayLike<number>): number {
  let sum = 0;
  let n = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) continue;
    sum += values[i];
    n++;
  }
  return sum / n;
}
