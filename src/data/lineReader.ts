import { closeSync } from 'node:fs';
import { UserError } from '../errors.js';
import { openForReading, readFully } from '../io/readFile.js';

/** A base64 picture of 48 MiB; no honest line is longer, and a file without line feeds must not fill the memory. */
const MAX_LINE_BYTES = 64 << 20;
/** How much is read at a time when lines are read in order. */
const BLOCK_BYTES = 1 << 20;

/** Reads lines of an indexed file by their position (from 0), each with one read on one descriptor. */
export class LineReader {
  readonly #file: number;

  /** @param starts byte offset of each line, then the file's size (LineIndex.starts) */
  constructor(
    readonly path: string,
    readonly starts: Float64Array,
  ) {
    this.#file = openForReading(path);
  }

  get lineCount(): number {
    return this.starts.length - 1;
  }

  /** File and line number (from 1), for error messages. */
  where(line: number): string {
    return `${this.path}, line ${line + 1}`;
  }

  /** The bytes of a line without its line feed (or carriage return and line feed). */
  read(line: number): Buffer {
    const bytes = Buffer.allocUnsafe(this.#byteLength(line));
    readFully(this.#file, this.starts[line], bytes, this.where(line));
    return withoutLineEnd(bytes);
  }

  /** The first bytes of a line, at most `length`; its line feed may be among them. */
  readStart(line: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.min(length, this.starts[line + 1] - this.starts[line]));
    readFully(this.#file, this.starts[line], bytes, this.where(line));
    return bytes;
  }

  /** All lines in order, read in large blocks. A line is valid until the next one is asked for. */
  *readAll(): Generator<Buffer> {
    let block = Buffer.alloc(0);
    for (let first = 0; first < this.lineCount; ) {
      const start = this.starts[first];
      let end = first + 1;
      while (end < this.lineCount && this.starts[end + 1] - start <= BLOCK_BYTES) end++;
      const length = end === first + 1 ? this.#byteLength(first) : this.starts[end] - start;
      if (block.length < length) block = Buffer.allocUnsafe(Math.max(length, BLOCK_BYTES));
      readFully(this.#file, start, block.subarray(0, length), this.where(first));
      for (; first < end; first++) {
        yield withoutLineEnd(block.subarray(this.starts[first] - start, this.starts[first + 1] - start));
      }
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #byteLength(line: number): number {
    const length = this.starts[line + 1] - this.starts[line];
    if (length > MAX_LINE_BYTES) {
      throw new UserError(`${this.where(line)}: longer than ${MAX_LINE_BYTES >> 20} MiB`);
    }
    return length;
  }
}

function withoutLineEnd(line: Buffer): Buffer {
  let end = line.length;
  if (line[end - 1] === 10) end--;
  if (line[end - 1] === 13) end--;
  return line.subarray(0, end);
}
