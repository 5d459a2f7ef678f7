import type { Id, TextRecord } from './dataset.js';
import { type KeyTable, keyOf } from './keyTable.js';
import type { TextReader } from './pairDataset.js';

/** Texts of a source that has no ids for them, held in memory. Each describes one image; its id is its row. */
export class StoredTexts implements TextReader {
  /** @param imageRows image row of each text */
  constructor(
    private readonly texts: KeyTable,
    private readonly imageRows: Int32Array,
    private readonly imageId: (row: number) => Id,
  ) {}

  get textCount(): number {
    return this.imageRows.length;
  }

  read(row: number): { textId: Id; text: string } {
    return { textId: row, text: keyOf(this.texts, row) };
  }

  *readAll(): Generator<TextRecord> {
    for (let row = 0; row < this.textCount; row++) {
      yield { ...this.read(row), imageIds: [this.imageId(this.imageRows[row])] };
    }
  }

  close(): void {}
}
