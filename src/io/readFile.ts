import { openSync, readSync, statSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';

/** Node reads and writes less than 2 GiB at a time. */
export const MAX_TRANSFER_BYTES = 1 << 28;

/** Opens a regular file and returns its descriptor. Throws a UserError that names the file where that fails. */
export function openForReading(path: string): number {
  try {
    // Opening a pipe would wait for its writer.
    if (!statSync(path).isFile()) throw new Error('not a regular file');
    return openSync(path, 'r');
  } catch (error) {
    throw new UserError(`${path}: can't be opened (${messageOf(error)})`);
  }
}

/** Fills `target` with the file's bytes from `position` on. Throws a UserError where the file ends before. */
export function readFully(file: number, position: number, target: Uint8Array, where: string): void {
  for (let done = 0; done < target.length; ) {
    const length = Math.min(target.length - done, MAX_TRANSFER_BYTES);
    const count = readSync(file, target, done, length, position + done);
    if (count === 0) throw new UserError(`${where}: the file ended while it was read`);
    done += count;
  }
}

/** The bytes under any typed array, not copied. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
