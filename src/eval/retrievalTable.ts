import type { Direction } from './files.js';
import {
  type DirectionSummary,
  directions,
  type Measure,
  measures,
  type RetrievalSummary,
} from './retrievalSummary.js';
import { alignedLines, intervalText, probabilityText, signed } from './tableText.js';

export const arrows: Record<Direction, string> = { textToImage: 'text→image', imageToText: 'image→text' };

/** A line of the table: a result, or what stands below it. */
export interface RecallRow {
  /** the direction, or what is compared with */
  label: string;
  /** of recalls, median rank, pool and queries */
  cells: string[];
  isResult: boolean;
}

export const recallColumns = ['R@1', 'R@5', 'R@10', 'mean', 'median rank', 'pool', 'queries'];

/** The rows of a direction: the result, its intervals, chance, the published result, and the other model. */
export function recallRows(summary: RetrievalSummary, direction: Direction): RecallRow[] {
  const scores = summary[direction];
  const { published, intervals, chance } = scores;
  const { publishedModel, setup, comparison } = summary;
  const row = (label: string, cellOf: (measure: Measure) => string): RecallRow => ({
    label,
    cells: [...measures.map(cellOf), '', '', ''],
    isResult: false,
  });
  const rows = [
    {
      label: arrows[direction],
      cells: [
        ...measures.map((measure) => scores[measure].toFixed(2)),
        scores.medianRank === null ? '–' : String(scores.medianRank),
        String(scores.pool),
        String(scores.queries),
      ],
      isResult: true,
    },
    row('95 % interval', (measure) => intervalText(intervals[measure], (value) => value.toFixed(1))),
    row('by chance', (measure) => shortPercent(chance[measure])),
  ];
  if (published !== undefined) {
    rows.push(
      row(`published ${publishedModel}, ${setup}`, (measure) => published[measure]?.toFixed(1) ?? '–'),
      row('difference', (measure) => {
        const value = differenceFrom(scores, measure);
        return value === undefined ? '–' : signed(value, 1);
      }),
    );
  }
  if (comparison !== undefined) {
    const tests = comparison[direction];
    rows.push(
      row(`vs. ${comparison.against}`, (measure) => signed(100 * tests[measure].difference, 2)),
      row('95 % interval', (measure) =>
        intervalText(tests[measure].interval, (value) => signed(100 * value, 1)),
      ),
      row('p (McNemar)', (measure) =>
        measure === 'meanRecall' ? '–' : probabilityText(tests[measure].pValue),
      ),
    );
  }
  return rows;
}

/** The results of models on datasets as lines of a terminal. */
export function textTable(summaries: readonly RetrievalSummary[]): string[] {
  const lines = [
    ['dataset', 'model', '', ...recallColumns],
    ...bodyLines(summaries, (label) => `  ${label}`),
  ];
  return alignedLines(lines, 3);
}

/** The same as a table of Markdown. */
export function markdownTable(summaries: readonly RetrievalSummary[]): string {
  const head = ['dataset', 'model', '', ...recallColumns];
  const lines = [head, head.map((_, column) => (column < 3 ? '---' : '---:')), ...bodyLines(summaries)];
  const escaped = (cell: string) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ');
  return `${lines.map((line) => `| ${line.map(escaped).join(' | ')} |`).join('\n')}`;
}

/** The same as CSV: a line for each model, dataset and direction, numbers in full. */
export function csvTable(summaries: readonly RetrievalSummary[]): string {
  const head = [
    ...['dataset', 'split', 'model', 'setup', 'direction', 'queries', 'pool', 'median_rank'],
    ...measures.flatMap((measure) => [
      ...[measure, `${measure}_low`, `${measure}_high`, `${measure}_chance`, `${measure}_published`],
      ...[`${measure}_difference`, `${measure}_vs_first`, `${measure}_vs_first_p`],
    ]),
  ];
  const lines = summaries.flatMap((summary) =>
    directions.map((direction) => {
      const scores = summary[direction];
      const { dataset, split, model, setup, comparison } = summary;
      return [
        ...[dataset, split, model, setup, arrows[direction], scores.queries, scores.pool, scores.medianRank],
        ...measures.flatMap((measure) => {
          const test = comparison?.[direction][measure];
          return [
            ...[scores[measure], scores.intervals[measure].low, scores.intervals[measure].high],
            ...[scores.chance[measure], scores.published?.[measure], differenceFrom(scores, measure)],
            test && 100 * test.difference,
            measure === 'meanRecall' ? undefined : test?.pValue,
          ];
        }),
      ];
    }),
  );
  const cell = (value: string | number | null | undefined) => {
    const text = String(value ?? '');
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...lines].map((line) => line.map(cell).join(',')).join('\n');
}

function bodyLines(summaries: readonly RetrievalSummary[], indent = (label: string) => label): string[][] {
  return summaries.flatMap((summary) =>
    directions.flatMap((direction) =>
      recallRows(summary, direction).map(({ label, cells, isResult }) =>
        isResult
          ? [`${summary.dataset} ${summary.split}`, summary.model, label, ...cells]
          : ['', '', indent(label), ...cells],
      ),
    ),
  );
}

function differenceFrom(scores: DirectionSummary, measure: Measure): number | undefined {
  const published = scores.published?.[measure];
  return published === undefined ? undefined : scores[measure] - published;
}

/** Two decimals, more where a small chance would show as zero. */
function shortPercent(value: number): string {
  return value === 0 || value >= 0.1 ? value.toFixed(2) : Number(value.toPrecision(2)).toString();
}
