import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { MAX_TRANSFER_BYTES } from './readFile.js';

const BUFFER_BYTES = 1 << 20;

/**
 * Writes a new file with what `write` appends, and flushes it to disk.
 *
 * @throws where `path` exists or can't be created, and what `write` throws; half of the file is left then
 */
export async function writeNewFile(
  path: string,
  write: (file: FileWriter) => void | Promise<void>,
): Promise<void> {
  const file = new FileWriter(path);
  try {
    await write(file);
    file.finish();
  } finally {
    file.close();
  }
}

/** Writes a new file from its start to its end in large pieces, for files that do not fit into memory. */
export class FileWriter {
  readonly #file: number;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #buffered = 0;
  #written = 0;

  /** @throws where `path` exists or can't be created */
  constructor(readonly path: string) {
    this.#file = openSync(path, 'wx');
  }

  /** Bytes appended so far. */
  get length(): number {
    return this.#written + this.#buffered;
  }

  /** Adds bytes of any number, or text as UTF-8, at the end. */
  append(chunk: Uint8Array | string): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (this.#buffered + bytes.length > BUFFER_BYTES) this.#flush();
    if (bytes.length > BUFFER_BYTES) {
      this.#write(bytes, this.#written);
      this.#written += bytes.length;
    } else {
      this.#buffer.set(bytes, this.#buffered);
      this.#buffered += bytes.length;
    }
  }

  /** Changes bytes that were appended before. */
  overwrite(bytes: Uint8Array, position: number): void {
    this.#flush();
    this.#write(bytes, position);
  }

  /** Writes what is left and flushes the file to disk. */
  finish(): void {
    this.#flush();
    fsyncSync(this.#file);
  }

  /** Closes the file, finished or not. */
  close(): void {
    closeSync(this.#file);
  }

  #flush(): void {
    this.#write(this.#buffer.subarray(0, this.#buffered), this.#written);
    this.#written += this.#buffered;
    this.#buffered = 0;
  }

  #write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(bytes.length - done, MAX_TRANSFER_BYTES);
      done += writeSync(this.#file, bytes, done, length, position + done);
    }
  }
}
