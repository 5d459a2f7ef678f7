import { type BestMetric, meanRecallOf, milestones } from './bestMetric.js';
import type { ValidationRecord } from './validation.js';

/** What training changed, as lines of a table: before the first step, at best and after the last. */
export function outcomeLines(records: readonly ValidationRecord[], metric: BestMetric): string[] {
  const rows = milestones(records, metric).map(({ name, record }) => {
    const { step, textToImage, imageToText } = record;
    const recall = ({ recallAt1, recallAt5, recallAt10 }: typeof textToImage) =>
      [recallAt1, recallAt5, recallAt10].map((value) => value.toFixed(2).padStart(7)).join('');
    return `${name.padEnd(8)}${String(step).padStart(8)}${recall(textToImage)}${recall(imageToText)}${meanRecallOf(record).toFixed(2).padStart(8)}`;
  });
  if (rows.length === 0) return [];
  return [
    `full pool   step   T→I 1      5     10  I→T 1      5     10    mean   (best by ${metric})`,
    ...rows,
  ];
}
