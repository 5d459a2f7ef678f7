import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type DatasetSource,
  findSource,
  type Id,
  type ImageSource,
  openDataset,
} from '../../data/dataset.js';
import { filesAnywhere } from '../../data/fileImages.js';
import { picturesIn } from '../../data/folderDataset.js';
import { UserError } from '../../errors.js';

/** Pictures and what they are called. */
export interface Pictures {
  readonly count: number;
  readonly imageSource: ImageSource;
  imageId(row: number): Id;
  close(): void;
}

/** A list of files has a line of some hundred bytes for each. */
const MAX_LIST_BYTES = 1 << 30;

/**
 * Opens pictures: a split of a dataset of any source, with its ids; else a folder, of which all pictures are taken in the
 * order of their paths (links to folders are not followed); or a `.txt` file with a path a line, relative to it. Ids of
 * files are these paths, with /.
 *
 * @throws UserError where there is no picture, naming the place
 */
export async function openPictures(
  location: string,
  options: { split: string; source?: DatasetSource; warn: (message: string) => void },
): Promise<Pictures> {
  const found = options.source ?? findSource(location, options.split);
  // A dataset of source `folder` has pictures with captions alone; all pictures are wanted.
  const isDataset = found !== undefined && (found !== 'folder' || options.source === 'folder');
  const kind = statSync(location, { throwIfNoEntry: false });
  if (!isDataset && kind?.isDirectory())
    return filePictures(location, location, [...picturesIn(location, '', 0)]);
  if (!isDataset && kind?.isFile() && location.endsWith('.txt')) {
    return filePictures(location, dirname(location), listedIn(location, kind.size));
  }
  const dataset = await openDataset(location, options);
  return {
    count: dataset.imageCount,
    imageSource: dataset.imageSource,
    imageId: (row) => dataset.imageId(row),
    close: () => dataset.close(),
  };
}

function listedIn(path: string, bytes: number): string[] {
  if (bytes > MAX_LIST_BYTES) throw new UserError(`${path}: ${bytes} bytes, larger than a list of files`);
  return readFileSync(path, 'utf8')
    .split(/\r?\n/)
    .filter((line) => line !== '');
}

function filePictures(location: string, folder: string, ids: readonly string[]): Pictures {
  if (ids.length === 0) throw new UserError(`${location} names no picture`);
  const repeated = ids.length === new Set(ids).size ? undefined : ids.find((id, i) => ids.indexOf(id) !== i);
  if (repeated !== undefined) throw new UserError(`${location}: ${repeated} occurs twice`);
  return {
    count: ids.length,
    imageSource: filesAnywhere(folder, ids),
    imageId: (row) => ids[row],
    close: () => {},
  };
}
