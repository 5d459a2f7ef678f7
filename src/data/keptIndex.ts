import { closeSync, fstatSync } from 'node:fs';
import { UserError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic.js';
import { bytesOf, openForReading, readFully } from '../io/readFile.js';

/** What must not have changed of a file since something was derived from it. */
export interface Version {
  size: number;
  /** time of change, milliseconds */
  modified: number;
}

export function versionOf(file: number): Version {
  const { size, mtimeMs } = fstatSync(file);
  return { size, modified: mtimeMs };
}

/** @throws UserError where an open file is no longer what it was when its index was begun */
export function requireUnchanged(file: number, path: string, begun: Version): void {
  const { size, modified } = versionOf(file);
  if (size === begun.size && modified === begun.modified) return;
  throw new UserError(`${path}: the file changed while it was indexed; try again when it is complete`);
}

/**
 * Keeps arrays that can be derived again in a file: 8 characters that say what it is, numbers (float64) that say what it
 * belongs to, then the arrays. Integers are little-endian, as on all systems that Node.js runs on.
 */
export function writeKept(
  path: string,
  magic: string,
  numbers: readonly number[],
  arrays: readonly ArrayBufferView[],
): void {
  writeFileAtomic(path, (append) => {
    append(Buffer.from(magic, 'latin1'));
    append(bytesOf(Float64Array.from(numbers)));
    for (const array of arrays) append(bytesOf(array));
  });
}

/**
 * Reads such a file back.
 *
 * @param create the arrays to fill, in order, for these numbers and so many bytes of arrays; undefined where they don't
 * fit what is wanted
 * @returns the arrays, or undefined where there is no file that fits: they are then derived anew
 */
export function readKept<A extends readonly ArrayBufferView[]>(
  path: string,
  magic: string,
  numberCount: number,
  create: (numbers: Float64Array, bytes: number) => A | undefined,
): A | undefined {
  let file: number;
  try {
    file = openForReading(path);
  } catch {
    return undefined;
  }
  try {
    const size = fstatSync(file).size;
    let position = magic.length + 8 * numberCount;
    if (size < position) return undefined;
    const found = Buffer.alloc(magic.length);
    const numbers = new Float64Array(numberCount);
    readFully(file, 0, found, path);
    readFully(file, magic.length, bytesOf(numbers), path);
    const arrays = found.toString('latin1') === magic ? create(numbers, size - position) : undefined;
    for (const array of arrays ?? []) {
      readFully(file, position, bytesOf(array), path);
      position += array.byteLength;
    }
    return arrays;
  } finally {
    closeSync(file);
  }
}

/** Whether numbers are whole, never fall, begin at 0 or above, and stay at `end` or below. */
export function rises(numbers: Float64Array | Int32Array, end: number): boolean {
  let last = 0;
  for (const number of numbers) {
    if (!(number >= last && Number.isInteger(number))) return false;
    last = number;
  }
  return last <= end;
}
