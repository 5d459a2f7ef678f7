import { UserError } from '../errors.js';
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
    const bytes = decodeBase64(line.toString('latin1', tab + 1));
    if (tab < 1 || bytes === undefined) {
      throw new UserError(`${name}: expected "id TAB base64", the base64 is damaged or empty`);
    }
    return { bytes, name };
  }

  close(): void {
    this.#lines.close();
  }
}

/** The bytes of base64 in either alphabet, with or without padding; undefined where it is damaged or empty. */
export function decodeBase64(encoded: string): Buffer | undefined {
  const text = encoded.trim();
  const bytes = Buffer.from(text, 'base64');
  // Buffer leaves out what is no base64 and says nothing: the length tells.
  const digits = text.endsWith('==') ? text.length - 2 : text.endsWith('=') ? text.length - 1 : text.length;
  const isWhole = digits % 4 !== 1 && bytes.length > 0 && bytes.length === Math.floor((digits * 3) / 4);
  return isWhole ? bytes : undefined;
}
