import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { writeFileAtomic } from '../../io/atomic.js';
import { writeNpy } from '../../io/npy.js';
import { bytesOf, readFully } from '../../io/readFile.js';
import type { Reporter } from '../../io/terminal.js';
import { type IdField, idsPath } from '../files.js';
import { normalize } from '../ranking.js';
import type { Id } from '../retrieval.js';

/** Rows that are turned into text at once. */
const ROWS_AT_ONCE = 1024;

/**
 * Rows of features that are being computed: float32 in a file, after a key that says what they depend on. A run that
 * was stopped goes on from its whole rows.
 */
export class FeatureFile {
  readonly #file: number;
  #rows: number;

  /** @param key changes with all that the features depend on; a file of another key is begun anew */
  constructor(
    readonly path: string,
    private readonly key: string,
    private readonly width: number,
  ) {
    this.#file = openSync(path, existsSync(path) ? 'r+' : 'w+');
    const head = Buffer.alloc(key.length);
    readSync(this.#file, head, 0, head.length, 0);
    const values = head.toString('latin1') === key ? fstatSync(this.#file).size - key.length : 0;
    this.#rows = Math.floor(values / (4 * width));
    writeSync(this.#file, Buffer.from(key, 'latin1'), 0, key.length, 0);
    this.keep(this.#rows);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Drops the rows from `count` on, and what there is of a row that was not finished. */
  keep(count: number): void {
    this.#rows = count;
    ftruncateSync(this.#file, this.#position(count));
  }

  /** @param features [rows, width] */
  append(features: Float32Array): void {
    const bytes = bytesOf(features);
    const start = this.#position(this.#rows);
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#file, bytes, done, bytes.length - done, start + done);
    }
    this.#rows += features.length / this.width;
  }

  /**
   * Computes what is missing of `count` rows, and appends it normalised.
   *
   * @param step rows that are computed together: an earlier run is taken over up to a multiple of it, so that what comes
   *   out are the bits of a run that was not stopped
   * @param compute features of the rows from `begin` on, `step` rows at a time
   */
  async fill(
    title: string,
    count: number,
    step: number,
    compute: (begin: number) => AsyncIterable<Float32Array>,
    reporter: Reporter,
  ): Promise<void> {
    this.keep(Math.floor(Math.min(this.#rows, count) / step) * step);
    reporter.begin(title, count, this.#rows);
    try {
      for await (const features of compute(this.#rows)) {
        this.append(normalize(features, this.width));
        reporter.advance(this.#rows);
      }
    } finally {
      reporter.end();
    }
  }

  /** The rows from `start` to below `end`. @throws UserError where the file was cut in the meantime */
  read(start: number, end: number): Float32Array {
    const features = new Float32Array((end - start) * this.width);
    readFully(this.#file, this.#position(start), bytesOf(features), this.path);
    return features;
  }

  /** Writes all rows as the reference's extract_features does: `{"image_id": 1, "feature": [0.5, …]}` a line. */
  writeJsonl(path: string, idField: IdField, idOf: (row: number) => Id): void {
    writeFileAtomic(path, (append) => {
      for (let start = 0; start < this.rows; start += ROWS_AT_ONCE) {
        const end = Math.min(this.rows, start + ROWS_AT_ONCE);
        const features = this.read(start, end);
        let lines = '';
        for (let row = start; row < end; row++) {
          const values = features.subarray((row - start) * this.width, (row - start + 1) * this.width);
          lines += `{"${idField}": ${JSON.stringify(idOf(row))}, "feature": [${values.join(', ')}]}\n`;
        }
        append(lines);
      }
    });
  }

  /** Writes all rows as NumPy's matrix, and their ids beside it: `NAME.npy` and `NAME.ids.jsonl`. */
  writeNpy(path: string, idField: IdField, idOf: (row: number) => Id): void {
    writeIds(path, idField, this.rows, idOf);
    writeNpy(path, this.read(0, this.rows), [this.rows, this.width]);
  }

  close(): void {
    closeSync(this.#file);
  }

  remove(): void {
    this.close();
    rmSync(this.path);
  }

  #position(row: number): number {
    return this.key.length + 4 * row * this.width;
  }
}

function writeIds(npy: string, idField: IdField, rows: number, idOf: (row: number) => Id): void {
  writeFileAtomic(idsPath(npy), (append) => {
    for (let row = 0; row < rows; row++) append(`${JSON.stringify({ [idField]: idOf(row) })}\n`);
  });
}
