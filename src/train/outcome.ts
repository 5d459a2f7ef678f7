import { type BestMetric, meanRecallOf, milestones } from './bestMetric.js';
import type { RunDirectory } from './runDirectory.js';
import type { ValidationRecord } from './validation.js';

/** What training changed, as lines of a table: before the first step, at best and after the last. */
export function outcomeLines(directory: RunDirectory, metric: BestMetric): string[] {
  const rows = [
    ...milestones(directory.readValidations('valid'), metric),
    ...otherMilestones(directory.readValidations('other')),
  ];
  if (rows.length === 0) return [];
  const head = `full pool             step   T→I 1      5     10  I→T 1      5     10    mean   (best by ${metric})`;
  return [head, ...rows.map(({ name, record }) => outcomeLine(name, record))];
}

/** The other dataset is measured before and after only. */
export function otherMilestones(
  records: readonly ValidationRecord[],
): { name: string; record: ValidationRecord }[] {
  return records.map((record) => ({
    name: record.step === 0 ? 'other data, before' : 'other data, after',
    record,
  }));
}

function outcomeLine(name: string, record: ValidationRecord): string {
  const { step, textToImage, imageToText } = record;
  const recall = ({ recallAt1, recallAt5, recallAt10 }: typeof textToImage) =>
    [recallAt1, recallAt5, recallAt10].map((value) => value.toFixed(2).padStart(7)).join('');
  const mean = meanRecallOf(record).toFixed(2).padStart(8);
  return `${name.padEnd(18)}${String(step).padStart(8)}${recall(textToImage)}${recall(imageToText)}${mean}`;
}
