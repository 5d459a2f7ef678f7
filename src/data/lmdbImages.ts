import { LmdbFile } from '../io/lmdb/read.js';
import { decodeBase64 } from './base64.js';
import type { ImageReader, ImageSource, StoredImage } from './dataset.js';
import { keyOf } from './keyTable.js';

export type LmdbImageSource = Extract<ImageSource, { kind: 'lmdb' }>;

/** The pictures of an `imgs` LMDB: image ids as keys, base64 as values. */
export class LmdbImages implements ImageReader {
  readonly #file: LmdbFile;

  constructor(private readonly source: LmdbImageSource) {
    this.#file = new LmdbFile(source.path);
  }

  /** @throws UserError with file and id where the file or the base64 is damaged */
  read(row: number): StoredImage {
    const { path, positions, lengths, ids } = this.source;
    const name = `${path}, image ${keyOf(ids, row)}`;
    const value = this.#file.read({ position: positions[row], length: lengths[row] }, name);
    return { bytes: decodeBase64(value.toString('latin1'), name), name };
  }

  close(): void {
    this.#file.close();
  }
}
