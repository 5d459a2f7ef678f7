import { UserError } from '../errors.js';
import { LineReader } from './lineReader.js';

/** A picture of a dataset, still encoded (JPEG, PNG, …). `name` is its file, line and id, for error messages. */
export interface StoredImage {
  id: string;
  bytes: Buffer;
  name: string;
}

/** The pictures of a `*_imgs.tsv` file, one "id TAB base64" a line, read by row. */
export class ImageTable {
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
    const id = line.toString('utf8', 0, Math.max(tab, 0));
    const name = `${this.#lines.where(row)}, image ${id}`;
    const text = line.toString('latin1', tab + 1).trim();
    const bytes = Buffer.from(text, 'base64');
    // Buffer leaves out what is no base64 and says nothing: the length tells.
    const digits = text.endsWith('==') ? text.length - 2 : text.endsWith('=') ? text.length - 1 : text.length;
    if (tab < 1 || digits % 4 === 1 || bytes.length === 0 || bytes.length !== Math.floor((digits * 3) / 4)) {
      throw new UserError(`${name}: expected "id TAB base64", the base64 is damaged or empty`);
    }
    return { id, bytes, name };
  }

  close(): void {
    this.#lines.close();
  }
}
