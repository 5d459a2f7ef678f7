import type { Interval, PairedTest } from '../statistics.js';
import { alignedLines, intervalText, probabilityText, signed } from '../tableText.js';
import type { DatasetScore } from './evaluate.js';
import { publishedResult } from './published.js';

/** A dataset's line of the summary: percentages. */
export interface SummaryRow {
  name: string;
  score: DatasetScore;
  /** of the model that the results are shown beside */
  published: number | undefined;
  /** against the model of another folder */
  comparison: PairedTest | undefined;
}

export function summaryRow(
  name: string,
  score: DatasetScore,
  publishedModel: string | undefined,
  comparison?: PairedTest,
): SummaryRow {
  return { name, score, published: publishedResult(publishedModel, name), comparison };
}

export const summaryColumns = [
  'dataset',
  'metric',
  'value',
  '95 % interval',
  'top-1',
  'published',
  'difference',
];
export const comparisonColumns = ['vs. other', '95 % interval', 'p'];

/** The cells of a row under summaryColumns, and under comparisonColumns where there is a comparison. */
export function summaryCells({ name, score, published, comparison }: SummaryRow): string[] {
  const value = 100 * score.value;
  const cells = [
    name,
    score.metric,
    value.toFixed(2),
    percentInterval(score.valueInterval),
    (100 * score.top1).toFixed(2),
    published === undefined ? '–' : published.toFixed(1),
    published === undefined ? '–' : signed(value - published, 1),
  ];
  if (comparison === undefined) return cells;
  const { difference, interval, pValue } = comparison;
  return [
    ...cells,
    signed(100 * difference, 2),
    intervalText(interval, (share) => signed(100 * share, 1)),
    probabilityText(pValue),
  ];
}

/** The summary as lines of text, with the mean of the datasets' metrics where there are several. */
export function summaryTable(rows: readonly SummaryRow[]): string[] {
  const compared = rows.some(({ comparison }) => comparison !== undefined);
  const lines = [
    [...summaryColumns, ...(compared ? comparisonColumns : [])],
    ...rows.map((row) => summaryCells(row)),
  ];
  if (rows.length > 1) lines.push(['mean', '', (100 * meanValue(rows)).toFixed(2)]);
  return alignedLines(lines, 2);
}

export function meanValue(rows: readonly SummaryRow[]): number {
  return rows.reduce((sum, { score }) => sum + score.value, 0) / rows.length;
}

/** An interval of shares, in percent. */
export function percentInterval(interval: Interval): string {
  return intervalText(interval, (share) => (100 * share).toFixed(1));
}
