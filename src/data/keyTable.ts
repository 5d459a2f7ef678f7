/**
 * Strings one after the other in two arrays, where a million of them as JavaScript values would take ten times the
 * memory. On shared memory threads need no copy.
 */
export interface KeyTable {
  /** UTF-8 of all keys */
  keys: Uint8Array;
  /** where each ends in `keys` */
  keyEnds: Float64Array;
}

export function keyOf({ keys, keyEnds }: KeyTable, row: number): string {
  const start = row === 0 ? 0 : keyEnds[row - 1];
  return Buffer.from(keys.buffer, keys.byteOffset + start, keyEnds[row] - start).toString();
}

/** The id that a key is: a number where the texts write image ids so and the key is that number's text. */
export function idOf(key: string, isNumeric: boolean): number | string {
  const number = Number(key);
  return isNumeric && Number.isSafeInteger(number) && String(number) === key ? number : key;
}
