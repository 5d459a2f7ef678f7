import type { Interval } from './statistics.js';

/** Rows of cells as lines of text: columns as wide as they need, the first `left` aligned left, numbers right. */
export function alignedLines(rows: readonly (readonly string[])[], left: number): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}

/** A difference with its sign; what rounds to zero has none. */
export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? '−' : '+'}${text}`;
}

/** An interval, its ends as `text` writes them. */
export function intervalText({ low, high }: Interval, text: (value: number) => string): string {
  return `${text(low)} … ${text(high)}`;
}

/** A p value. */
export function probabilityText(p: number): string {
  return p < 0.0001 ? '<0.0001' : p.toFixed(4);
}
