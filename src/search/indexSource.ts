import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageSource, openDataset, type StoredImage } from '../data/dataset.js';
import { picturesIn } from '../data/folderDataset.js';
import { openImages } from '../data/images.js';
import { ImageWorkerPool } from '../data/imageWorkerPool.js';
import { KeyTableBuilder } from '../data/keyTable.js';
import { UserError } from '../errors.js';
import type { IndexedPicture, IndexSource } from './pictureIndex.js';

/** Pictures that are there now. */
export interface Listing {
  imageSource: ImageSource;
  pictures: IndexedPicture[];
}

const ROWS_AT_ONCE = 1024;

/**
 * Lists the pictures of a folder (links to files and folders are not followed) or, where a split is named, of a dataset.
 * A file counts as changed with its size or time, a picture of a dataset with its bytes, which are read.
 *
 * @throws UserError where nothing is there
 */
export async function listPictures(
  { path, split, source }: IndexSource,
  warn: (line: string) => void,
): Promise<Listing> {
  if (split === undefined) return listFolder(path);
  const dataset = await openDataset(path, { split, source, warn });
  const pool = new ImageWorkerPool(2, { source: dataset.imageSource, resolution: 1 });
  try {
    const pictures: IndexedPicture[] = [];
    for (let first = 0; first < dataset.imageCount; first += ROWS_AT_ONCE) {
      const length = Math.min(ROWS_AT_ONCE, dataset.imageCount - first);
      const { hashes } = await pool.check(
        Int32Array.from({ length }, (_, i) => first + i),
        false,
      );
      for (let i = 0; i < length; i++) {
        const version = `${hashes[2 * i].toString(16)}-${hashes[2 * i + 1].toString(16)}`;
        pictures.push({ id: String(dataset.imageId(first + i)), row: first + i, version });
      }
    }
    return { imageSource: dataset.imageSource, pictures };
  } finally {
    await pool.close();
    dataset.close();
  }
}

function listFolder(root: string): Listing {
  const names = new KeyTableBuilder();
  const pictures: IndexedPicture[] = [];
  for (const id of picturesIn(root, '', 0)) {
    const status = statSync(join(root, id), { throwIfNoEntry: false });
    if (!status?.isFile()) continue;
    pictures.push({ id, row: names.length, version: `${status.size}-${status.mtimeMs}` });
    names.add(id);
  }
  if (pictures.length === 0) throw new UserError(`${root}: there is no picture in it`);
  return { imageSource: { kind: 'files', root, names: names.build() }, pictures };
}

/** Reads pictures of an index from where they were when it was made. */
export interface PictureReader {
  read(picture: number): StoredImage | Promise<StoredImage>;
  close(): void;
}

/** @throws UserError where a dataset can't be opened, or has changed since */
export async function openPictures(
  { path, split, source }: IndexSource,
  pictures: readonly IndexedPicture[],
): Promise<PictureReader> {
  if (split === undefined) {
    const names = new KeyTableBuilder();
    for (const { id } of pictures) names.add(id);
    return openImages({ kind: 'files', root: path, names: names.build() });
  }
  const dataset = await openDataset(path, { split, source });
  return {
    read: (picture) => {
      const { id, row } = pictures[picture];
      if (row < dataset.imageCount && String(dataset.imageId(row)) === id) return dataset.image(row);
      throw new UserError(`${path}: picture ${id} is not where it was: make the index again`);
    },
    close: () => dataset.close(),
  };
}
