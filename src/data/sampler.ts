import { Random } from '../random.js';

/**
 * The order in which an epoch visits the dataset, in whole batches: as in the reference the positions 0 … count − 1
 * are continued from the start until they fill the last batch, then shuffled as a whole (so the continued ones fall
 * anywhere). Shuffling is Fisher–Yates driven by Random(seed, 'epoch', epoch): a pure function of its arguments.
 *
 * @param epoch from 0; validation always passes the same one
 * @returns dataset positions, a multiple of batchSize; batch b is [b · batchSize, (b + 1) · batchSize)
 */
export function epochOrder(
  count: number,
  batchSize: number,
  seed: number,
  epoch: number,
  shuffle: boolean,
): Int32Array {
  const order = new Int32Array(Math.ceil(count / batchSize) * batchSize);
  for (let i = 0; i < order.length; i++) order[i] = i % count;
  return shuffle ? new Random(seed, 'epoch', epoch).shuffle(order) : order;
}
