import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UserError } from '../errors.js';
import { Growing } from './growing.js';
import { ImageTable, type StoredImage } from './imageTable.js';
import { keyOf, type LineIndex, openLineIndex } from './lineIndex.js';
import { type Id, type TextRecord, TextTable } from './textTable.js';

export type { Id, StoredImage, TextRecord };

/** A positive pair: an image and a text that describes it. */
export interface Pair {
  imageRow: number;
  imageId: Id;
  textId: Id;
  text: string;
}

const IMAGES = '_imgs.tsv';
const TEXTS = '_texts.jsonl';

/**
 * Opens a split in the reference's form: `${split}_imgs.tsv`, "id TAB base64" a line, and `${split}_texts.jsonl`,
 * `{"text_id", "text", "image_ids": […]}` a line. Each image id of each text is a pair, in the file's order. Beside
 * each file an index of its lines is kept (see openLineIndex), so opening again reads the texts only.
 *
 * @param warn told when an index can't be kept
 * @throws UserError for a missing file (naming the splits that are there), and with file and line number for a line
 * that is truncated, no JSON or lacks a field, an id that occurs twice, or an image id that the tsv lacks
 */
export function openDataset(
  directory: string,
  split: string,
  warn: (message: string) => void = console.warn,
): PairDataset {
  requireSplit(directory, split);
  const imagePath = join(directory, split + IMAGES);
  const textPath = join(directory, split + TEXTS);
  const imageIndex = openLineIndex(imagePath, true, warn);
  const textIndex = openLineIndex(textPath, false, warn);
  if (imageIndex.lineCount === 0)
    throw new UserError(`${imagePath}: the file is empty; expected one image a line`);
  if (textIndex.lineCount === 0)
    throw new UserError(`${textPath}: the file is empty; expected one text a line`);
  const rowOfImage = new Map<string, number>();
  for (let row = 0; row < imageIndex.lineCount; row++) {
    const id = keyOf(imageIndex, row);
    const earlier = rowOfImage.get(id);
    if (earlier !== undefined) {
      throw new UserError(
        `${imagePath}, line ${row + 1}: image ${id} occurred before, in line ${earlier + 1}`,
      );
    }
    rowOfImage.set(id, row);
  }
  const texts = new TextTable(textPath, textIndex.starts);
  try {
    return new PairDataset(imagePath, imageIndex, texts, joinPairs(texts, rowOfImage, imagePath));
  } catch (error) {
    texts.close();
    throw error;
  }
}

/** A split of a dataset: pairs, images and texts, all read from disk when asked for. */
export class PairDataset {
  readonly #images: ImageTable;

  /** Made by openDataset. */
  constructor(
    /** The tsv file of the images, and where its lines start: what a worker needs to read them. */
    readonly imagePath: string,
    readonly imageIndex: LineIndex,
    private readonly textTable: TextTable,
    private readonly join: Join,
  ) {
    this.#images = new ImageTable(imagePath, imageIndex.starts);
  }

  get textPath(): string {
    return this.textTable.path;
  }

  get pairCount(): number {
    return this.join.imageRows.length;
  }

  get imageCount(): number {
    return this.imageIndex.lineCount;
  }

  get textCount(): number {
    return this.textTable.textCount;
  }

  /** Texts whose image_ids are []: they are no pairs, and take part in evaluation only. */
  get unpairedTextCount(): number {
    return this.join.unpairedTexts;
  }

  /** The image row of each pair. */
  get pairImageRows(): Int32Array {
    return this.join.imageRows;
  }

  /** Reads the pair at a position in [0, pairCount). */
  pair(position: number): Pair {
    const imageRow = this.join.imageRows[position];
    const { textId, text } = this.textTable.read(this.join.textRows[position]);
    return { imageRow, imageId: this.imageId(imageRow), textId, text };
  }

  /** Image file and id of a row in [0, imageCount), still encoded. */
  image(row: number): StoredImage {
    return this.#images.read(row);
  }

  /** The encoded image of a row: the decoded base64. */
  imageBytes(row: number): Buffer {
    return this.#images.read(row).bytes;
  }

  /** The image id of a row, in the form (number or string) in which the texts write image ids. */
  imageId(row: number): Id {
    const key = keyOf(this.imageIndex, row);
    const number = Number(key);
    return this.join.numericImageIds && Number.isSafeInteger(number) && String(number) === key ? number : key;
  }

  /** All texts in the file's order, those without images included. */
  texts(): Generator<TextRecord> {
    return this.textTable.readAll();
  }

  close(): void {
    this.#images.close();
    this.textTable.close();
  }
}

interface Join {
  /** The rows of each pair. */
  imageRows: Int32Array;
  textRows: Int32Array;
  unpairedTexts: number;
  /** Whether the texts write image ids as numbers, as the reference's tools do. */
  numericImageIds: boolean;
}

function joinPairs(texts: TextTable, rowOfImage: ReadonlyMap<string, number>, imagePath: string): Join {
  const imageRows = new Growing((length) => new Int32Array(length));
  const textRows = new Growing((length) => new Int32Array(length));
  const seen = new Set<Id>();
  let unpairedTexts = 0;
  let numericImageIds = true;
  let textRow = 0;
  for (const { textId, imageIds } of texts.readAll()) {
    if (seen.has(textId)) throw new UserError(`${texts.where(textRow)}: text_id ${textId} occurred before`);
    seen.add(textId);
    if (imageIds.length === 0) unpairedTexts++;
    for (const id of imageIds) {
      const imageRow = rowOfImage.get(String(id));
      if (imageRow === undefined)
        throw new UserError(`${texts.where(textRow)}: image ${id} is not in ${imagePath}`);
      if (typeof id === 'string') numericImageIds = false;
      imageRows.push(imageRow);
      textRows.push(textRow);
    }
    textRow++;
  }
  return { imageRows: imageRows.values(), textRows: textRows.values(), unpairedTexts, numericImageIds };
}

function requireSplit(directory: string, split: string): void {
  if (!/^[^/\\\0]+$/.test(split)) {
    throw new UserError(`split "${split}": expected the name of a split, like "train", not a path`);
  }
  let files: string[];
  try {
    files = readdirSync(directory);
  } catch (error) {
    throw new UserError(`${directory}: the dataset's folder can't be read (${messageOf(error)})`);
  }
  const missing = [split + IMAGES, split + TEXTS].filter((file) => !files.includes(file));
  if (missing.length === 0) return;
  const splits = files
    .filter((file) => file.endsWith(IMAGES) && files.includes(file.slice(0, -IMAGES.length) + TEXTS))
    .map((file) => file.slice(0, -IMAGES.length));
  const found =
    splits.length > 0 ? `its splits are ${splits.sort().join(', ')}` : 'it holds no complete split';
  throw new UserError(`${directory}: split "${split}" has no ${missing.join(' and no ')}; ${found}`);
}
