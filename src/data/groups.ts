import { lastAtMost } from '../io/lastAtMost.js';

/** Which group a row lies in, and the how-manieth of it it is. `starts` are the first rows of the groups. */
export function rowIn(starts: Int32Array, row: number): { group: number; index: number } {
  const group = lastAtMost(starts, row);
  return { group, index: row - starts[group] };
}

/** Where groups of these sizes start, one after the other. */
export function startsOf(sizes: readonly number[]): Int32Array {
  const starts = new Int32Array(sizes.length);
  for (let i = 1; i < sizes.length; i++) starts[i] = starts[i - 1] + sizes[i - 1];
  return starts;
}
