import { UserError } from '../errors.js';
import { PageCache, ParquetFile, RowReader } from '../io/parquet/column.js';
import type { ImageReader, ImageSource, StoredImage } from './dataset.js';
import { rowIn } from './groups.js';
import { requirePictureSize } from './pictureBytes.js';

export type ParquetImageSource = Extract<ImageSource, { kind: 'parquet' }>;

/** Field of a Hugging Face image; a column that is no struct has no fields, and holds the picture itself. */
export const IMAGE_FIELD = 'bytes';

/** Files of which the footer is kept. */
const MAX_READERS = 64;

/** Pictures of a column of Parquet files; pages lately read are kept. */
export class ParquetImages implements ImageReader {
  /** by file, oldest first */
  readonly #readers = new Map<number, RowReader>();
  readonly #cache = new PageCache();

  constructor(private readonly source: ParquetImageSource) {}

  /** @throws UserError where the row has no picture, or the file is damaged or has changed */
  read(row: number): StoredImage {
    const { group, index } = rowIn(this.source.rowStarts, row);
    const name = `${this.source.paths[group]}, row ${index}`;
    const bytes = this.#reader(group).read(index);
    if (bytes === undefined || bytes.length === 0) {
      throw new UserError(`${name}: no picture; it may hold a path only, write the pictures into the file`);
    }
    requirePictureSize(bytes.length, name);
    return { bytes: Buffer.from(bytes), name };
  }

  close(): void {
    this.#readers.clear();
  }

  #reader(group: number): RowReader {
    const kept = this.#readers.get(group);
    if (kept !== undefined) return kept;
    const { paths, column } = this.source;
    const file = new ParquetFile(paths[group]);
    const found = file.column(column, IMAGE_FIELD);
    if (found === undefined)
      throw new UserError(`${file.path}: the column ${column} is gone; the file has changed`);
    const reader = new RowReader(file, found, this.#cache);
    const [oldest] = this.#readers.keys();
    if (this.#readers.size === MAX_READERS) this.#readers.delete(oldest);
    this.#readers.set(group, reader);
    return reader;
  }
}
