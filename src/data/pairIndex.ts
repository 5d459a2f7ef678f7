import { messageOf, UserError } from '../errors.js';
import type { Id } from './dataset.js';
import { Growing } from './growing.js';
import { readKept, rises, writeKept } from './keptIndex.js';
import { keyOf } from './keyTable.js';
import type { LineIndex } from './lineIndex.js';
import type { PairRows } from './pairDataset.js';
import type { TextTable } from './textTable.js';

/** Which text and which image are a pair, found by the ids in both files. */
export interface PairIndex {
  pairs: PairRows;
  unpairedTextCount: number;
  /** Whether the texts write image ids as numbers, as the reference's tools do. */
  numericImageIds: boolean;
}

const SUFFIX = '.cnclip-pairs';
const MAGIC = 'CNCLIPPR';
const FORMAT = 1;

/**
 * The pairs of a tsv and a jsonl file: read from TEXTS.cnclip-pairs where that fits both files' size and time of change,
 * else joined by reading all texts, and kept there.
 *
 * @param warn told when the folder can't be written to
 * @throws UserError with file and line for an id that occurs twice, a text that is none, or an image that the tsv lacks
 */
export function openPairIndex(
  texts: TextTable,
  textIndex: LineIndex,
  imageIndex: LineIndex,
  imagePath: string,
  warn: (message: string) => void,
): PairIndex {
  const path = texts.path + SUFFIX;
  const versions = [imageIndex.version, textIndex.version].flatMap(({ size, modified }) => [size, modified]);
  const identity = [FORMAT, ...versions];
  const stored = readPairs(path, identity, imageIndex.lineCount, textIndex.lineCount);
  if (stored !== undefined) return stored;
  const index = joinPairs(texts, rowsOfImages(imageIndex, imagePath), imagePath);
  const { imageRows, textRows } = index.pairs;
  const numbers = [...identity, imageRows.length, index.unpairedTextCount, index.numericImageIds ? 1 : 0];
  try {
    writeKept(path, MAGIC, numbers, [imageRows, textRows]);
  } catch (error) {
    warn(`${path} can't be written (${messageOf(error)}): the next run will read all texts again`);
  }
  return index;
}

/** The stored pairs, or undefined where there are none that fit. */
function readPairs(
  path: string,
  identity: readonly number[],
  imageCount: number,
  textCount: number,
): PairIndex | undefined {
  let unpairedTextCount = 0;
  let numericImageIds = true;
  const arrays = readKept(path, MAGIC, identity.length + 3, (numbers, bytes) => {
    const [pairCount, unpaired, numeric] = numbers.subarray(identity.length);
    const fits =
      identity.every((number, i) => number === numbers[i]) &&
      bytes === pairCount * 8 &&
      unpaired >= 0 &&
      unpaired <= textCount;
    if (!fits) return undefined;
    unpairedTextCount = unpaired;
    numericImageIds = numeric === 1;
    return [new Int32Array(pairCount), new Int32Array(pairCount)] as const;
  });
  if (arrays === undefined) return undefined;
  const [imageRows, textRows] = arrays;
  // Damaged ones must not lead to rows that don't exist.
  const isWhole = imageRows.every((row) => row >= 0 && row < imageCount) && rises(textRows, textCount - 1);
  return isWhole ? { pairs: { imageRows, textRows }, unpairedTextCount, numericImageIds } : undefined;
}

function rowsOfImages(index: LineIndex, path: string): Map<string, number> {
  const rowOfImage = new Map<string, number>();
  for (let row = 0; row < index.lineCount; row++) {
    const id = keyOf(index, row);
    const earlier = rowOfImage.get(id);
    if (earlier !== undefined) {
      throw new UserError(`${path}, line ${row + 1}: image ${id} occurred before, in line ${earlier + 1}`);
    }
    rowOfImage.set(id, row);
  }
  return rowOfImage;
}

function joinPairs(texts: TextTable, rowOfImage: ReadonlyMap<string, number>, imagePath: string): PairIndex {
  const imageRows = new Growing((length) => new Int32Array(length));
  const textRows = new Growing((length) => new Int32Array(length));
  const seen = new Set<Id>();
  let unpairedTextCount = 0;
  let numericImageIds = true;
  let textRow = 0;
  for (const { textId, imageIds } of texts.readAll()) {
    if (seen.has(textId)) throw new UserError(`${texts.where(textRow)}: text_id ${textId} occurred before`);
    seen.add(textId);
    if (imageIds.length === 0) unpairedTextCount++;
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
  const pairs = { imageRows: imageRows.values(), textRows: textRows.values() };
  return { pairs, unpairedTextCount, numericImageIds };
}
