import { UserError } from '../errors.js';
import { shown } from '../io/json.js';
import { parseObjectLine } from '../io/jsonl.js';
import type { TextRecord } from './dataset.js';
import { LineReader } from './lineReader.js';
import { isId, type TextReader } from './pairDataset.js';

/** The texts of a `*_texts.jsonl` file, one `{"text_id", "text", "image_ids": […]}` a line, read by row. */
export class TextTable implements TextReader {
  readonly #lines: LineReader;

  /** @param starts byte offset of each line, then the file's size (LineIndex.starts) */
  constructor(path: string, starts: Float64Array) {
    this.#lines = new LineReader(path, starts);
  }

  get path(): string {
    return this.#lines.path;
  }

  get textCount(): number {
    return this.#lines.lineCount;
  }

  where(row: number): string {
    return this.#lines.where(row);
  }

  /** @throws UserError with file and line where the line is no JSON object or a field is missing or of another kind */
  read(row: number): TextRecord {
    return this.#parse(this.#lines.read(row), row);
  }

  /** All texts in the file's order. Throws as `read` does. */
  *readAll(): Generator<TextRecord> {
    let row = 0;
    for (const line of this.#lines.readAll()) yield this.#parse(line, row++);
  }

  close(): void {
    this.#lines.close();
  }

  #parse(line: Buffer, row: number): TextRecord {
    const { text_id: textId, text, image_ids: imageIds } = parseObjectLine(line, this.where(row));
    if (!isId(textId)) this.#fail(row, '"text_id", a whole number or string', textId);
    if (typeof text !== 'string') this.#fail(row, '"text", a string', text);
    if (!Array.isArray(imageIds)) this.#fail(row, '"image_ids", a list of ids ([] where unknown)', imageIds);
    for (const id of imageIds) {
      if (!isId(id)) this.#fail(row, 'each of "image_ids" to be a whole number or string', id);
    }
    return { textId, text, imageIds };
  }

  #fail(row: number, expected: string, found: unknown): never {
    throw new UserError(`${this.where(row)}: expected ${expected}; found ${shown(found)}`);
  }
}
