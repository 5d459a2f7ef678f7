import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
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
export function bytesOf(data: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
}

/** A position in a file that must not change. Plain data, so that another thread can read there. */
export interface FilePlace {
  path: string;
  version: string;
  position: number;
  /** what is read, for error messages */
  where: string;
}

/**
 * A file of which ranges are read as they are needed. It is opened anew for each range, so that nothing has to be
 * closed; a file that was changed or replaced in between is an error.
 */
export class RangedFile {
  /** in bytes */
  readonly size: number;
  readonly version: string;

  /** @throws UserError if it can't be opened or is no regular file */
  constructor(readonly path: string) {
    const file = openForReading(path);
    try {
      const status = fstatSync(file);
      this.size = status.size;
      this.version = versionOf(status);
    } finally {
      closeSync(file);
    }
  }

  /**
   * `length` bytes from `position` on.
   *
   * @param where what is read, for error messages
   * @throws UserError where the range reaches beyond the file, before anything is allocated, or is more than can be
   * allocated (a file with holes can claim any size)
   */
  read(position: number, length: number, where: string = this.path): Uint8Array<ArrayBuffer> {
    if (!(position >= 0 && length >= 0 && position + length <= this.size)) {
      throw new UserError(
        `${where}: truncated (${position + length} bytes needed, the file has ${this.size})`,
      );
    }
    const file = openVersion(this);
    try {
      const bytes = allocate(length, where);
      readFully(file, position, bytes, where);
      return bytes;
    } finally {
      closeSync(file);
    }
  }

  /** Where the bytes from `position` on are. */
  at(position: number, where: string = this.path): FilePlace {
    return { path: this.path, version: this.version, position, where };
  }
}

/** Zeros. @throws UserError where that is more memory than there is for one array */
export function allocate(length: number, where: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch {
    throw new UserError(`${where}: ${length} bytes are more than fit into memory`);
  }
}

/** Opens a file and returns its descriptor. Throws a UserError where that fails, or the file is another version. */
export function openVersion({ path, version }: Pick<FilePlace, 'path' | 'version'>): number {
  const file = openForReading(path);
  if (versionOf(fstatSync(file)) === version) return file;
  closeSync(file);
  throw new UserError(`${path} was changed while it was read`);
}

function versionOf({ ino, size, mtimeMs }: { ino: number; size: number; mtimeMs: number }): string {
  return `${ino} ${size} ${mtimeMs}`;
}
