import { UserError } from '../errors.js';
import { decodeBase64 } from './base64.js';
import type { ImageReader, StoredImage } from './dataset.js';
import { LineReader } from './lineReader.js';

/** The pictures of a `*_imgs.tsv` file, one "id TAB base64" a line. */
export class TsvImages implements ImageReader {
  readonly #lines: LineReader;

  /** @param starts byte offset of each line, then the file's size (LineIndex.starts) */
  constructor(path: string, starts: Float64Array) {
    this.#lines = new LineReader(path, starts);
  }

  /**
   * Reads one picture. Base64 in either alphabet, with or without padding.
   *
   * @throws UserError with file and line where the line is no "id TAB base64" or the base64 is damaged
   */
  read(row: number): StoredImage {
    const line = this.#lines.read(row);
    const tab = line.indexOf('\t');
    const name = `${this.#lines.where(row)}, image ${line.toString('utf8', 0, Math.max(tab, 0))}`;
    if (tab < 1) throw new UserError(`${name}: expected "id TAB base64"`);
    return { bytes: decodeBase64(line.toString('latin1', tab + 1), name), name };
  }

  close(): void {
    this.#lines.close();
  }
}
