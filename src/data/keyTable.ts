import { Growing, shared } from './growing.js';

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

/** Collects the strings of a table. */
export class KeyTableBuilder {
  readonly #keys = new Growing((length) => new Uint8Array(length));
  readonly #keyEnds = new Growing((length) => new Float64Array(length));

  get length(): number {
    return this.#keyEnds.length;
  }

  add(key: string | Uint8Array): void {
    this.#keys.append(typeof key === 'string' ? Buffer.from(key) : key);
    this.#keyEnds.push(this.#keys.length);
  }

  /** The table, in shared memory. */
  build(): KeyTable {
    return { keys: shared(this.#keys.values()), keyEnds: shared(this.#keyEnds.values()) };
  }
}
