import { dirname, join, relative } from 'node:path';
import { UserError } from '../errors.js';
import { isFile, isFolder } from '../io/fileSystem.js';
import { namesIn } from './readFolder.js';

/** Names that splits usually have: a file that begins with another one's is not taken for this one's. */
const KNOWN_SPLITS = /^(train|training|valid|validation|val|dev|test)\d*([-_.]|$)/;
const MAX_FILES = 1_000_000;

/**
 * The files of a split that is stored in one or several files of one ending, in order.
 *
 * - A file is itself. `{000000..000099}` and `{a,b}` stand for all that they can be, as in a shell.
 * - In a folder, in its folder `data` and in one that has the split's name: files named SPLIT, SPLIT-… or SPLIT_…; where
 *   there are none, all files, if none begins with the name of another split. In a folder of the split's name, all.
 *
 * @throws UserError where there are none, one that a pattern names is missing, or it can't be told what is there
 */
export function filesOfSplit(path: string, split: string, endings: readonly string[]): string[] {
  const hasEnding = (file: string) => endings.some((ending) => file.endsWith(ending));
  if (path.includes('{')) {
    const files = expandBraces(path);
    const missing = files.find((file) => !isFile(file));
    if (missing !== undefined)
      throw new UserError(`${missing}: no such file (one of ${files.length} in ${path})`);
    return files;
  }
  if (isFile(path)) return [path];
  const list = (folder: string) => {
    if (!isFolder(folder)) return [];
    return namesIn(folder)
      .filter(hasEnding)
      .sort()
      .map((name) => join(folder, name))
      .filter(isFile);
  };
  const named = new RegExp(`^${split.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}([-_.]|$)`);
  const nameOf = (file: string) => file.slice(dirname(file).length + 1);
  const places = [list(path), list(join(path, 'data'))];
  for (const files of places) {
    const ofSplit = files.filter((file) => named.test(nameOf(file)));
    if (ofSplit.length > 0) return ofSplit;
  }
  const inFolder = list(join(path, split));
  if (inFolder.length > 0) return inFolder;
  for (const files of places) {
    if (files.length > 0 && !files.some((file) => KNOWN_SPLITS.test(nameOf(file)))) return files;
  }
  const found = places.flat().map(nameOf).slice(0, 5).join(', ');
  throw new UserError(
    `${path}: found no ${endings.join(' or ')} file of split "${split}"${found === '' ? '' : `; there are ${found}`}`,
  );
}

/** Whether a split seems to be such files: by the ending of the path, or by what is in the folder. Never throws. */
export function hasFilesOfSplit(path: string, split: string, endings: readonly string[]): boolean {
  if (endings.some((ending) => path.endsWith(ending))) return true;
  try {
    return isFolder(path) && filesOfSplit(path, split, endings).length > 0;
  } catch {
    return false;
  }
}

/** `{0001..0010}` and `{a,b}` in every combination, the last one changing first. @throws UserError for a bad range */
export function expandBraces(pattern: string): string[] {
  const brace = /\{([^{}]*)\}/.exec(pattern);
  if (brace === null) return [pattern];
  const before = pattern.slice(0, brace.index);
  const after = expandBraces(pattern.slice(brace.index + brace[0].length));
  const choices = rangeOf(brace[1], pattern) ?? brace[1].split(',');
  if (choices.length * after.length > MAX_FILES) {
    throw new UserError(`${pattern} stands for more than ${MAX_FILES} files`);
  }
  return choices.flatMap((choice) => after.map((rest) => before + choice + rest));
}

function rangeOf(text: string, pattern: string): string[] | undefined {
  const range = /^(\d{1,15})\.\.(\d{1,15})$/.exec(text);
  if (range === null) return undefined;
  const [first, last] = [Number(range[1]), Number(range[2])];
  if (last < first) throw new UserError(`${pattern}: the range ${text} runs backwards`);
  if (last - first >= MAX_FILES) throw new UserError(`${pattern} stands for more than ${MAX_FILES} files`);
  const width = range[1].startsWith('0') ? range[1].length : 1;
  return Array.from({ length: last - first + 1 }, (_, i) => String(first + i).padStart(width, '0'));
}

/** What to call each of several files in ids: its path from their common folder, without the ending. */
export function shortNames(paths: readonly string[]): string[] {
  let common = dirname(paths[0]);
  while (!paths.every((path) => !relative(common, path).startsWith('..'))) common = dirname(common);
  return paths.map((path) => relative(common, path).replace(/\.[^./]*$/, ''));
}
