import type { ValidationRecord, ValidationResult } from './validation.js';

/** What a run's best checkpoint can be best in. */
export const bestMetrics = ['meanRecall', 'textToImage', 'imageToText', 'loss'] as const;
export type BestMetric = (typeof bestMetrics)[number];

/** Mean recall of both directions: the mean of R@1, R@5 and R@10 of each, in percent. */
export function meanRecallOf({ textToImage, imageToText }: ValidationResult): number {
  return (textToImage.meanRecall + imageToText.meanRecall) / 2;
}

/** A validation by a metric; more is better. */
export function scoreOf(result: ValidationResult, metric: BestMetric): number {
  if (metric === 'loss') return -result.loss;
  return metric === 'meanRecall' ? meanRecallOf(result) : result[metric].meanRecall;
}

/** The first of the best validations, but for those before the first step; undefined where there are none. */
export function bestOf<R extends ValidationResult & { step: number }>(
  records: readonly R[],
  metric: BestMetric,
): R | undefined {
  let best: R | undefined;
  for (const record of records) {
    if (record.step === 0) continue;
    if (best === undefined || scoreOf(record, metric) > scoreOf(best, metric)) best = record;
  }
  return best;
}

/** The validations that a run is told by: before the first step, the best one by a metric, and the last. */
export function milestones(
  records: readonly ValidationRecord[],
  metric: BestMetric,
): { name: string; record: ValidationRecord }[] {
  const first = records[0];
  const best = bestOf(records, metric);
  const last = records.at(-1);
  return [
    ...(first?.step === 0 ? [{ name: 'before', record: first }] : []),
    ...(best === undefined ? [] : [{ name: 'best', record: best }]),
    ...(last === undefined || last.step === 0 ? [] : [{ name: 'after', record: last }]),
  ];
}
