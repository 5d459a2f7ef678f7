import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageSource, openDataset, type StoredImage } from '../data/dataset.js';
import { filesOf } from '../data/fileImages.js';
import { picturesIn } from '../data/folderDataset.js';
import { openImages } from '../data/images.js';
import { ImageWorkerPool } from '../data/imageWorkerPool.js';
import { UserError } from '../errors.js';
import { rowBatches } from '../rows.js';
import type { IndexedPicture, IndexSource } from './pictureIndex.js';

/** Pictures that are there now. */
export interface Listing {
  imageSource: ImageSource;
  pictures: IndexedPicture[];
}

const ROWS_AT_ONCE = 1024;

/**
 * Lists the pictures of a folder (links to folders are not followed, nor those that lead out of it) or, where a split is
 * named, of a dataset. A file counts as changed with its size or time, a picture of a dataset with its bytes, which are
 * read.
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
    for (const rows of rowBatches(0, dataset.imageCount, ROWS_AT_ONCE)) {
      const { hashes } = await pool.check(rows, false);
      for (const [i, row] of rows.entries()) {
        const version = `${hashes[2 * i].toString(16)}-${hashes[2 * i + 1].toString(16)}`;
        pictures.push({ id: String(dataset.imageId(row)), row, version });
      }
    }
    return { imageSource: dataset.imageSource, pictures };
  } finally {
    await pool.close();
    dataset.close();
  }
}

function listFolder(root: string): Listing {
  const pictures: IndexedPicture[] = [];
  for (const id of picturesIn(root, '', 0)) {
    const version = fileVersion(join(root, id));
    if (version !== undefined) pictures.push({ id, row: pictures.length, version });
  }
  if (pictures.length === 0) throw new UserError(`${root}: there is no picture in it`);
  return { imageSource: filesOf(root, idsOf(pictures)), pictures };
}

/** undefined for what is no file. One that can't be looked at, as a broken link, is named when it is read. */
function fileVersion(path: string): string | undefined {
  try {
    const status = statSync(path);
    return status.isFile() ? `${status.size}-${status.mtimeMs}` : undefined;
  } catch {
    return 'unreadable';
  }
}

function* idsOf(pictures: readonly IndexedPicture[]): Generator<string> {
  for (const { id } of pictures) yield id;
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
    return openImages(filesOf(path, idsOf(pictures)));
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
