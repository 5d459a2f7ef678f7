import { closeSync, fstatSync } from 'node:fs';
import { openForReading } from '../io/readFile.js';
import type { ImageReader, ImageSource, StoredImage } from './dataset.js';
import { resolveInside } from './insidePath.js';
import { keyOf } from './keyTable.js';
import { readPicture } from './pictureBytes.js';

export type FileImageSource = Extract<ImageSource, { kind: 'files' }>;

/** Pictures that are files of a folder, named by their path in it. */
export class FileImages implements ImageReader {
  constructor(private readonly source: FileImageSource) {}

  /** @throws UserError where the file is missing, no file, leads out of the folder, or is larger than is read */
  read(row: number): StoredImage {
    const { root, names } = this.source;
    const path = resolveInside(root, keyOf(names, row));
    const file = openForReading(path);
    try {
      return { bytes: readPicture(file, 0, fstatSync(file).size, path), name: path };
    } finally {
      closeSync(file);
    }
  }

  close(): void {}
}
