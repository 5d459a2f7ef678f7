import type { Id } from './dataset.js';

/** Ids as whole numbers, which is what the reference's tools take. */
export interface Numbering {
  /** by row */
  numbers: Float64Array;
  /** Whether ids were replaced, since some are no whole numbers. */
  isNew: boolean;
  of(id: Id): number;
}

/**
 * Leaves ids alone that are whole numbers, also written as text. Otherwise all are numbered in order of their rows, from
 * a power of ten on: their digits are as many, so that their order as text is that of the rows.
 */
export function numberIds(ids: readonly Id[]): Numbering {
  const kept = Float64Array.from(ids, (id) => (isWhole(id) ? Number(id) : Number.NaN));
  if (!kept.includes(Number.NaN) && new Set(kept).size === ids.length) {
    return { numbers: kept, isNew: false, of: Number };
  }
  const first = 10 ** String(ids.length).length;
  const byId = new Map(ids.map((id, row) => [id, first + row]));
  return { numbers: Float64Array.from(ids, (_, row) => first + row), isNew: true, of: (id) => byId.get(id)! };
}

function isWhole(id: Id): boolean {
  const number = Number(id);
  return Number.isSafeInteger(number) && String(number) === String(id);
}
