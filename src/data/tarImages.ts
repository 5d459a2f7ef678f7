import { OpenFiles } from '../io/openFiles.js';
import type { ImageReader, ImageSource, StoredImage } from './dataset.js';
import { rowIn } from './groups.js';
import { keyOf } from './keyTable.js';
import { readPicture } from './pictureBytes.js';

export type TarImageSource = Extract<ImageSource, { kind: 'tar' }>;

/** Pictures that are members of tar archives, read by their offset. */
export class TarImages implements ImageReader {
  readonly #files = new OpenFiles();

  constructor(private readonly source: TarImageSource) {}

  /** @throws UserError where the archive can't be opened or has become shorter */
  read(row: number): StoredImage {
    const { paths, rowStarts, offsets, sizes, keys } = this.source;
    const path = paths[rowIn(rowStarts, row).group];
    const name = `${path}, offset ${offsets[row]}, picture of ${keyOf(keys, row)}`;
    return { bytes: readPicture(this.#files.get(path), offsets[row], sizes[row], name), name };
  }

  close(): void {
    this.#files.close();
  }
}
