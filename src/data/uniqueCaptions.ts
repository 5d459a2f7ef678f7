import { prepareText } from '../text/tokenizer.js';
import { HashTable, hashText } from './hashTable.js';

/** Batches that are asked to exchange a pair, for one that found no place. */
const EXCHANGES = 32;

/** Number of each text, by row: texts that are the same to the model (prepareText) have the same one. */
export function numberTexts(texts: Iterable<{ text: string }>, textCount: number): Int32Array {
  const table = new HashTable();
  const numbers = new Int32Array(textCount);
  let row = 0;
  for (const { text } of texts) numbers[row++] = table.add(hashText(prepareText(text)));
  return numbers;
}

/** What must not occur twice in a batch: number of the text and row of the image of each pair. */
export interface PairKeys {
  texts: Int32Array;
  images: Int32Array;
}

/**
 * Moves pairs between the batches of an epoch until no batch has the same text or the same image twice: such pairs are
 * negatives of each other that are none. Taken in the given order, each pair goes into the first batch with room after
 * the last one that has its text or image, so a pair moves no further than it must. What would fall behind the last
 * batch changes places with a pair of another batch where that helps both; what is left fills the last batches.
 * Linear in time and memory; the outcome depends on the arguments alone.
 *
 * @param order pairs in whole batches, as epochOrder gives them
 * @returns the new order, and how many pairs share a batch with their own text or image all the same
 */
export function separateDuplicates(
  order: Int32Array,
  batchSize: number,
  { texts, images }: PairKeys,
): { order: Int32Array; unplaced: number } {
  const batchCount = order.length / batchSize;
  const placed = new Int32Array(order.length);
  const filled = new Int32Array(batchCount);
  /** Of each text and image, the first batch after the last one that has it. */
  const afterText = new Int32Array(largest(texts) + 1);
  const afterImage = new Int32Array(largest(images) + 1);
  /** Of each full batch, one behind it: following these finds the first with room; batchCount where none is. */
  const onward = Int32Array.from({ length: batchCount + 1 }, (_, batch) => batch);
  const withRoom = (batch: number): number => {
    let found = batch;
    while (onward[found] !== found) {
      onward[found] = onward[onward[found]];
      found = onward[found];
    }
    return found;
  };
  const put = (pair: number, batch: number) => {
    placed[batch * batchSize + filled[batch]++] = pair;
    if (filled[batch] === batchSize) onward[batch] = batch + 1;
  };
  const left: number[] = [];
  for (const pair of order) {
    const batch = withRoom(Math.max(afterText[texts[pair]], afterImage[images[pair]]));
    if (batch === batchCount) {
      left.push(pair);
      continue;
    }
    put(pair, batch);
    afterText[texts[pair]] = batch + 1;
    afterImage[images[pair]] = batch + 1;
  }

  // The positions are not needed any more: the same arrays say what is in the batch that is filled up.
  const textIn = afterText.fill(-1);
  const imageIn = afterImage.fill(-1);
  const mark = (pair: number, batch: number) => {
    textIn[texts[pair]] = batch;
    imageIn[images[pair]] = batch;
  };
  const fits = (pair: number, batch: number) =>
    textIn[texts[pair]] !== batch && imageIn[images[pair]] !== batch;
  /** The place of a pair in batch `other` that fits into `batch`, if `pair` fits into `other`; else -1. */
  const placeToExchange = (pair: number, batch: number, other: number): number => {
    let place = -1;
    for (let i = other * batchSize; i < other * batchSize + filled[other]; i++) {
      if (texts[placed[i]] === texts[pair] || images[placed[i]] === images[pair]) return -1;
      if (place < 0 && fits(placed[i], batch)) place = i;
    }
    return place;
  };
  let unplaced = 0;
  let marked = -1;
  /** Keeps time linear where very many pairs find no place. */
  let exchangesLeft = 4 * batchCount + EXCHANGES;
  for (const pair of left) {
    const batch = withRoom(0);
    if (batch !== marked) {
      for (let i = 0; i < filled[batch]; i++) mark(placed[batch * batchSize + i], batch);
      marked = batch;
    }
    let given = pair;
    if (!fits(pair, batch)) {
      let place = -1;
      for (let step = 1; place < 0 && step < Math.min(batchCount, EXCHANGES) && exchangesLeft-- > 0; step++) {
        place = placeToExchange(pair, batch, (batch + batchCount - step) % batchCount);
      }
      if (place < 0) unplaced++;
      else {
        given = placed[place];
        placed[place] = pair;
      }
    }
    put(given, batch);
    mark(given, batch);
  }
  return { order: placed, unplaced };
}

function largest(values: Int32Array): number {
  let found = -1;
  for (const value of values) if (value > found) found = value;
  return found;
}
