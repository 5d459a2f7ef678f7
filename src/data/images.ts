import type { ImageReader, ImageSource, StoredImage } from './dataset.js';
import { FileImages } from './fileImages.js';
import { rowIn } from './groups.js';
import { LmdbImages } from './lmdbImages.js';
import { ParquetImages } from './parquetImages.js';
import { TarImages } from './tarImages.js';
import { TsvImages } from './tsvImages.js';

/** Opens the pictures of a dataset, in any thread. @throws UserError where their files can't be opened */
export function openImages(source: ImageSource): ImageReader {
  switch (source.kind) {
    case 'tsv':
      return new TsvImages(source.path, source.starts);
    case 'lmdb':
      return new LmdbImages(source);
    case 'files':
      return new FileImages(source);
    case 'tar':
      return new TarImages(source);
    case 'parquet':
      return new ParquetImages(source);
    case 'mixed':
      return new MixedImages(source);
  }
}

/** The pictures of several sources, one after the other. */
class MixedImages implements ImageReader {
  readonly #parts: ImageReader[];
  readonly #rowStarts: Int32Array;

  constructor({ parts, rowStarts }: Extract<ImageSource, { kind: 'mixed' }>) {
    this.#parts = parts.map(openImages);
    this.#rowStarts = rowStarts;
  }

  read(row: number): StoredImage | Promise<StoredImage> {
    const { group, index } = rowIn(this.#rowStarts, row);
    return this.#parts[group].read(index);
  }

  close(): void {
    for (const part of this.#parts) part.close();
  }
}
