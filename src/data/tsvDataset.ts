import { join } from 'node:path';
import { UserError } from '../errors.js';
import type { Dataset, OpenDatasetOptions } from './dataset.js';
import { idOf, keyOf } from './keyTable.js';
import { openLineIndex } from './lineIndex.js';
import { PairDataset } from './pairDataset.js';
import { openPairIndex } from './pairIndex.js';
import { namesIn } from './readFolder.js';
import { TextTable } from './textTable.js';

/** How the names of a split's files end. */
export const IMAGES = '_imgs.tsv';
export const TEXTS = '_texts.jsonl';

/** Whether a folder holds the pictures of a split as tsv: texts lie beside the other forms too. */
export function hasTsvSplit(directory: string, split: string): boolean {
  try {
    return namesIn(directory).includes(split + IMAGES);
  } catch {
    return false;
  }
}

/**
 * Opens a split in the reference's form: `${split}_imgs.tsv`, "id TAB base64" a line, and `${split}_texts.jsonl`,
 * `{"text_id", "text", "image_ids": […]}` a line. Each image id of each text is a pair, in the file's order. Beside
 * each file an index of its lines is kept (see openLineIndex), and one of the pairs (see openPairIndex): opening again
 * reads these only.
 *
 * @throws UserError for a missing file (naming the splits that are there), and with file and line number for a line
 * that is truncated, no JSON or lacks a field, an id that occurs twice, or an image id that the tsv lacks
 */
export async function openTsvDataset(
  directory: string,
  { split, warn }: OpenDatasetOptions,
): Promise<Dataset> {
  requireSplit(directory, split);
  const imagePath = join(directory, split + IMAGES);
  const textPath = join(directory, split + TEXTS);
  const imageIndex = openLineIndex(imagePath, true, warn);
  const textIndex = openLineIndex(textPath, false, warn);
  if (imageIndex.lineCount === 0)
    throw new UserError(`${imagePath}: the file is empty; expected one image a line`);
  if (textIndex.lineCount === 0)
    throw new UserError(`${textPath}: the file is empty; expected one text a line`);
  const texts = new TextTable(textPath, textIndex.starts);
  try {
    const { pairs, unpairedTextCount, numericImageIds } = openPairIndex(
      texts,
      textIndex,
      imageIndex,
      imagePath,
      warn,
    );
    return new PairDataset({
      location: `${directory}, split ${split}`,
      imageSource: { kind: 'tsv', path: imagePath, starts: imageIndex.starts },
      imageCount: imageIndex.lineCount,
      imageId: (row) => idOf(keyOf(imageIndex, row), numericImageIds),
      texts,
      pairs,
      unpairedTextCount,
    });
  } catch (error) {
    texts.close();
    throw error;
  }
}

function requireSplit(directory: string, split: string): void {
  const files = namesIn(directory);
  const missing = [split + IMAGES, split + TEXTS].filter((file) => !files.includes(file));
  if (missing.length === 0) return;
  const splits = files
    .filter((file) => file.endsWith(IMAGES) && files.includes(file.slice(0, -IMAGES.length) + TEXTS))
    .map((file) => file.slice(0, -IMAGES.length));
  const found =
    splits.length > 0 ? `its splits are ${splits.sort().join(', ')}` : 'it holds no complete split';
  throw new UserError(`${directory}: split "${split}" has no ${missing.join(' and no ')}; ${found}`);
}
