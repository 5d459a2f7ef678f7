import { lstatSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf, UserError } from '../errors.js';
import { readCsv } from '../io/csv.js';
import { isFile, isFolder } from '../io/fileSystem.js';
import { shown } from '../io/json.js';
import { readJsonLines } from '../io/jsonl.js';
import { captionNames, captionsOf, chooseColumn, decodeCaption, requireCaptionSize } from './captionValue.js';
import type { Dataset, OpenDatasetOptions } from './dataset.js';
import { Growing } from './growing.js';
import { requirePlainName, resolveInside } from './insidePath.js';
import { KeyTableBuilder, keyOf } from './keyTable.js';
import { PairDataset } from './pairDataset.js';
import { pictureExtension } from './pictureExtension.js';
import { readFolder } from './readFolder.js';
import { StoredTexts } from './storedTexts.js';

/** A picture of the folder and a caption of it. */
interface Row {
  image: string;
  captions: string[];
  where: string;
}

const ENDINGS = ['csv', 'tsv', 'jsonl'] as const;
/** Tables of a folder without splits; Hugging Face's ImageFolder calls it metadata. */
const WITHOUT_SPLIT = ['captions', 'metadata'];
const IMAGE_NAMES = ['image', 'file_name', 'path', 'filepath'];
/** Folders in folders; no link to a folder is followed. */
const MAX_DEPTH = 16;

/** Whether a folder holds a table of captions, or pictures with a .txt beside them. */
export function hasFolderSplit(directory: string, split: string): boolean {
  try {
    if (findTable(directory, split) !== undefined) return true;
    return picturesIn(splitFolder(directory, split), '', 0).next().done === false;
  } catch {
    return false;
  }
}

/**
 * Opens a folder of pictures with captions: a table `SPLIT.csv`, `.tsv` or `.jsonl` (or `captions.…`, `metadata.…` where
 * there are no splits) with a column for the picture's path and one for its caption, each row a pair; or, without a
 * table, pictures with their caption in a .txt of the same name. The table may also lie in a folder SPLIT, with paths
 * from there. Image ids are the paths as the table has them, text ids the number of the caption.
 *
 * @throws UserError with file and line for a damaged table, a column that is missing, a path that leads out of the
 * folder, and a picture that is not there
 */
export async function openFolderDataset(
  directory: string,
  { split, columns, warn }: OpenDatasetOptions,
): Promise<Dataset> {
  const root = splitFolder(directory, split);
  const table = findTable(directory, split);
  const rows = table === undefined ? captionFiles(root, warn) : tableRows(table, columns);
  const base = table === undefined ? root : dirname(table);
  const check = existenceCheck(base);
  const names = new KeyTableBuilder();
  const texts = new KeyTableBuilder();
  const imageRows = new Growing((length) => new Int32Array(length));
  const rowOf = new Map<string, number>();
  let unused = 0;
  for (const { image, captions, where } of rows) {
    let row = rowOf.get(image);
    if (row === undefined) {
      check(image, where);
      row = rowOf.size;
      rowOf.set(image, row);
      names.add(image);
    }
    if (captions.length === 0) unused++;
    for (const caption of captions) {
      texts.add(caption);
      imageRows.push(row);
    }
  }
  if (imageRows.length === 0) {
    throw new UserError(`${table ?? root}: there is no picture with a caption in it`);
  }
  if (unused > 0) warn(`${table}: ${unused} rows have an empty list of captions`);
  const keys = names.build();
  const pairRows = imageRows.values();
  const imageId = (row: number) => keyOf(keys, row);
  return new PairDataset({
    location: table ?? root,
    imageSource: { kind: 'files', root: base, names: keys },
    imageCount: rowOf.size,
    imageId,
    texts: new StoredTexts(texts.build(), pairRows, imageId),
    pairs: { imageRows: pairRows, textRows: Int32Array.from(pairRows.keys()) },
    unpairedTextCount: 0,
  });
}

/** The folder of a split, where splits are folders. */
function splitFolder(directory: string, split: string): string {
  const folder = join(directory, split);
  return isFolder(folder) ? folder : directory;
}

/** @throws UserError where several tables could be meant, or it can't be told what is there */
function findTable(directory: string, split: string): string | undefined {
  const inSplit = splitFolder(directory, split);
  for (const [folder, names] of [
    [directory, [split]],
    [inSplit, [split, ...WITHOUT_SPLIT]],
    [directory, WITHOUT_SPLIT],
  ] as const) {
    for (const name of names) {
      const found = ENDINGS.map((ending) => join(folder, `${name}.${ending}`)).filter(isFile);
      if (found.length > 1) throw new UserError(`${found.join(' and ')}: expected one table, not several`);
      if (found.length === 1) return found[0];
    }
  }
  return undefined;
}

function tableRows(path: string, columns: OpenDatasetOptions['columns']): Generator<Row> {
  return path.endsWith('.jsonl') ? jsonRows(path, columns) : csvRows(path, columns);
}

function* csvRows(path: string, columns: OpenDatasetOptions['columns']): Generator<Row> {
  let header: string[] | undefined;
  let image = -1;
  let text = -1;
  for (const { fields, line } of readCsv(path, path.endsWith('.tsv') ? '\t' : ',')) {
    const where = `${path}, line ${line}`;
    if (header === undefined) {
      header = fields;
      image = header.indexOf(chooseColumn('image', columns.image, IMAGE_NAMES, header, where));
      text = header.indexOf(chooseColumn('text', columns.text, captionNames, header, where));
    } else if (fields.length !== header.length) {
      throw new UserError(`${where}: ${fields.length} fields, the first line names ${header.length}`);
    } else yield { image: fields[image], captions: [fields[text]], where };
  }
}

function* jsonRows(path: string, columns: OpenDatasetOptions['columns']): Generator<Row> {
  for (const { value, where } of readJsonLines(path)) {
    const names = Object.keys(value);
    const image = value[chooseColumn('image', columns.image, IMAGE_NAMES, names, where)];
    const text = value[chooseColumn('text', columns.text, captionNames, names, where)];
    if (typeof image !== 'string') {
      throw new UserError(`${where}: expected the picture's path, a string; found ${shown(image)}`);
    }
    yield { image, captions: captionsOf(text, where), where };
  }
}

/** Pictures with a .txt of the same name beside them, in order of their paths. */
function* captionFiles(root: string, warn: (message: string) => void): Generator<Row> {
  let without = 0;
  for (const image of picturesIn(root, '', 0)) {
    const path = join(root, image.replace(/\.[^.]*$/, '.txt'));
    const caption = captionIn(path);
    if (caption === undefined) without++;
    else yield { image, captions: [caption], where: path };
  }
  if (without > 0) warn(`${root}: ${without} pictures without a .txt beside them are left out`);
}

/** undefined where there is no such file; a link is none. @throws UserError where it can't be read, or is no caption */
function captionIn(path: string): string | undefined {
  try {
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (!status?.isFile()) return undefined;
    requireCaptionSize(status.size, path);
    return decodeCaption(readFileSync(path), path).trim();
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${path}: the caption can't be read (${messageOf(error)})`);
  }
}

/** Paths of the pictures in a folder and its folders, in order. @throws UserError where one can't be read */
export function* picturesIn(root: string, folder: string, depth: number): Generator<string> {
  if (depth > MAX_DEPTH)
    throw new UserError(`${join(root, folder)}: folders are nested more than ${MAX_DEPTH} deep`);
  const entries = readFolder(join(root, folder));
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* picturesIn(root, name, depth + 1);
    else if (pictureExtension(entry.name) !== undefined) yield name;
  }
}

/** Looks for each picture when the dataset is opened. Links are resolved; folders once. */
function existenceCheck(root: string): (image: string, where: string) => void {
  const folders = new Set<string>();
  return (image, where) => {
    try {
      requirePlainName(root, image);
      const folder = dirname(image);
      // A plain file in a folder that is inside is inside; anything else is looked at in full.
      const status = folders.has(folder)
        ? lstatSync(join(root, image), { throwIfNoEntry: false })
        : undefined;
      if (!status?.isFile()) resolveInside(root, image);
      folders.add(folder);
    } catch (error) {
      throw new UserError(`${where}: ${messageOf(error)}`);
    }
  };
}
