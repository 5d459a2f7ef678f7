import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { messageOf, UserError } from '../../errors.js';
import { isFile, isFolder } from '../../io/fileSystem.js';
import { readJson } from '../../io/json.js';
import { readLabels } from './labels.js';

/** Pictures whose classes are known. */
export interface ClassificationDataset {
  name: string;
  /** folder that the pictures' names are relative to */
  folder: string;
  /** what each class is called in prompts */
  classNames: readonly string[];
  /** relative to the folder, with / */
  images: readonly string[];
  /** the classes of each picture: one, or several where labels are given so */
  targets: readonly (readonly number[])[];
  /** picture of each row of the prediction file, where that is not their order here */
  submissionOrder?: Int32Array;
}

/** Names of the label files that may stand beside label_cn.txt, in place of class folders. */
const LABEL_FILES = ['labels.jsonl', 'labels.csv'];
/** What torchvision takes for pictures. Others in class folders are left alone, so that rows count as there. */
const PICTURE = /\.(jpg|jpeg|png|ppm|bmp|pgm|tif|tiff|webp)$/i;
const MAX_INDEX_BYTES = 64 << 20;
const MAX_LABEL_BYTES = 1 << 20;

/**
 * Opens a dataset as the reference's zips unpack: `label_cn.txt`, a class a line; `test/<class id>/*`, the class on line
 * i being the i-th folder in name order; optional `index.json`, the picture of each row of a submission. With a
 * `labels.jsonl` or `labels.csv` (see `readLabels`) the classes are those that it gives, several a picture too, and the
 * folders mean nothing.
 *
 * @throws UserError where something is missing or doesn't fit together, naming it
 */
export function openElevaterDataset(data: string, name: string): ClassificationDataset {
  const folder = join(data, name);
  const classNames = readClassNames(join(folder, 'label_cn.txt'));
  const labelFile = LABEL_FILES.map((file) => join(folder, file)).find(isFile);
  const labelled =
    labelFile === undefined
      ? readClassFolders(folder, classNames)
      : readLabels(labelFile, folder, classNames);
  return {
    name,
    folder,
    classNames,
    ...labelled,
    submissionOrder: readIndex(folder, labelled.images.length),
  };
}

/**
 * Opens pictures of one's own: a folder for each class, or a labels file with the folder that its names are relative
 * to. Classes are called as their folders, or as the labels say, in name order.
 *
 * @param classNames in the order of the folders, or of a prediction's columns, in place of these names
 * @throws UserError as `openElevaterDataset`
 */
export function openOwnPictures(
  folder: string,
  labelFile: string | undefined,
  classNames?: readonly string[],
): ClassificationDataset {
  const name = 'pictures';
  if (labelFile !== undefined) {
    const labelled = readLabels(labelFile, folder, classNames);
    return { name, folder, ...labelled };
  }
  const folders = subfolders(folder);
  if (folders.length === 0) {
    throw new UserError(`${folder} has no folders: give one folder of pictures a class, or a labels file`);
  }
  const names = classNames ?? folders;
  if (names.length !== folders.length) {
    throw new UserError(`${folder} has ${folders.length} class folders, but ${names.length} names are given`);
  }
  return { name, folder, classNames: names, ...picturesOf(folder, folders) };
}

/** The lines of a file of class names. @throws UserError where it is missing, or a line is empty or occurs twice */
export function readClassNames(path: string): string[] {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_LABEL_BYTES) throw new Error(`it has ${size} bytes, at most ${MAX_LABEL_BYTES} are read`);
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    throw new UserError(`${path}: expected a class name a line, UTF-8 (${messageOf(error)})`);
  }
  const names = text.split(/\r\n|\n|\r/).map((line) => line.trim());
  while (names.at(-1) === '') names.pop();
  if (names.length === 0) throw new UserError(`${path} is empty; expected a class name a line`);
  const empty = names.indexOf('');
  if (empty >= 0) throw new UserError(`${path}, line ${empty + 1} is empty; expected a class name`);
  return names;
}

type Labelled = Pick<ClassificationDataset, 'images' | 'targets'>;

function readClassFolders(folder: string, classNames: readonly string[]): Labelled {
  const root = join(folder, 'test');
  const folders = subfolders(root);
  const numbers = folders.map(Number);
  if (folders.every((name) => /^\d+$/.test(name))) {
    const missing = classNames.findIndex((_, id) => !numbers.includes(id));
    if (missing >= 0 && folders.length <= classNames.length) {
      throw new UserError(
        `${root}: the folder of class ${missing} (${classNames[missing]}) is missing; label_cn.txt names ` +
          `${classNames.length} classes, there are ${folders.length} folders`,
      );
    }
  }
  if (folders.length !== classNames.length) {
    throw new UserError(
      `${folder}: label_cn.txt names ${classNames.length} classes, but test/ has ${folders.length} class folders; ` +
        'expected as many lines as folders',
    );
  }
  return picturesOf(root, folders, folder);
}

/** Pictures below each class folder, as torchvision's ImageFolder orders them. */
function picturesOf(root: string, folders: readonly string[], base = root): Labelled {
  const images: string[] = [];
  const targets: number[][] = [];
  folders.forEach((name, target) => {
    const found = [...picturesBelow(join(root, name))];
    if (found.length === 0) throw new UserError(`${join(root, name)} holds no pictures`);
    for (const path of found) {
      images.push(relative(base, path).replaceAll('\\', '/'));
      targets.push([target]);
    }
  });
  return { images, targets };
}

/** Files of a folder in name order, then those of the folders in it. */
function* picturesBelow(folder: string): Generator<string> {
  const entries = list(folder);
  for (const { name } of entries) {
    const path = join(folder, name);
    if (PICTURE.test(name) && isFile(path)) yield path;
  }
  for (const { name } of entries) {
    const path = join(folder, name);
    if (isFolder(path)) yield* picturesBelow(path);
  }
}

function subfolders(folder: string): string[] {
  return list(folder)
    .map(({ name }) => name)
    .filter((name) => isFolder(join(folder, name)));
}

/** Entries in order of their code points, as Python sorts names. */
function list(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true }).sort((a, b) =>
      Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
    );
  } catch (error) {
    throw new UserError(`${folder}: expected a folder for each class (${messageOf(error)})`);
  }
}

/** The order of a submission's rows. @throws UserError unless it names each picture once */
function readIndex(folder: string, imageCount: number): Int32Array | undefined {
  const path = join(folder, 'index.json');
  if (!isFile(path)) return undefined;
  const content = readJson(path, MAX_INDEX_BYTES);
  const expected = `expected the numbers 0 to ${imageCount - 1}, each once: one for each picture`;
  if (!Array.isArray(content)) throw new UserError(`${path}: no list; ${expected}`);
  if (content.length !== imageCount) {
    throw new UserError(`${path} has ${content.length} entries for ${imageCount} pictures; ${expected}`);
  }
  const seen = new Uint8Array(imageCount);
  content.forEach((entry: unknown, row) => {
    const fits = Number.isInteger(entry) && (entry as number) >= 0 && (entry as number) < imageCount;
    if (!fits || seen[entry as number]++ > 0) {
      const found = JSON.stringify(entry).slice(0, 40);
      throw new UserError(`${path}, entry ${row}: ${found}${fits ? ' occurred before' : ''}; ${expected}`);
    }
  });
  return Int32Array.from(content as number[]);
}
