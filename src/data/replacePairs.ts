import { UserError } from '../errors.js';
import type { PairKeys } from './uniqueCaptions.js';

/**
 * The pairs of a batch, those that can't be used replaced: each by the next usable pair of the epoch's order after the
 * batch (after the end it begins anew), which keeps its own place too. A function of the order and of which pairs are
 * usable, so a batch is the same however the run came to it.
 *
 * @param order pairs in whole batches
 * @param start of the batch in `order`
 * @param isUsable of a pair
 * @param keys where given, a pair whose text or image is in the batch is passed over while there are others
 * @throws UserError where no pair is usable
 */
export function replacePairs(
  order: Int32Array,
  start: number,
  batchSize: number,
  isUsable: (pair: number) => boolean,
  keys?: PairKeys,
): Int32Array {
  const pairs = order.slice(start, start + batchSize);
  if (pairs.every(isUsable)) return pairs;
  const usable = pairs.filter(isUsable);
  const texts = new Set(keys && usable.map((pair) => keys.texts[pair]));
  const images = new Set(keys && usable.map((pair) => keys.images[pair]));
  let position = start + batchSize - 1;
  const next = (accepts: (pair: number) => boolean): number | undefined => {
    for (let tried = 0; tried < order.length; tried++) {
      position = (position + 1) % order.length;
      if (isUsable(order[position]) && accepts(order[position])) return order[position];
    }
    return undefined;
  };
  const isNew = (pair: number) =>
    keys === undefined || !(texts.has(keys.texts[pair]) || images.has(keys.images[pair]));
  for (let place = 0; place < batchSize; place++) {
    if (isUsable(pairs[place])) continue;
    const pair = next(isNew) ?? next(() => true);
    if (pair === undefined) throw new UserError('no picture of the dataset can be read: nothing to train on');
    pairs[place] = pair;
    if (keys === undefined) continue;
    texts.add(keys.texts[pair]);
    images.add(keys.images[pair]);
  }
  return pairs;
}
