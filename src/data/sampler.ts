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

/** What an epoch's order is made from. */
export interface Sampled {
  readonly pairCount: number;
  /** positions at which groups begin that are read in one piece; see Dataset */
  readonly groups?: Int32Array;
  /** pairs among which the next one is drawn where there are groups */
  readonly shuffleBuffer?: number;
  /** datasets that lie one after the other, each with its passes an epoch */
  readonly parts?: readonly WeightedPart[];
}

export interface WeightedPart extends Sampled {
  readonly weight: number;
}

export const defaultShuffleBuffer = 1000;

/** How many pairs an epoch visits, before it is filled up to whole batches. */
export function epochLength({ pairCount, parts }: Sampled): number {
  return parts === undefined ? pairCount : parts.reduce((sum, part) => sum + drawsOf(part), 0);
}

/**
 * The order in which an epoch visits a dataset, in whole batches: a pure function of its arguments, so that a run which
 * is taken up again sees what it would have seen.
 *
 * - Any order as fast: all positions are shuffled, see epochOrder.
 * - Groups (shards, row groups): their order is drawn, and the pairs in that order pass through a buffer from which the
 *   next is drawn, as in webdataset. Reads stay near each other. The last batch is filled with the epoch's first pairs.
 * - Parts: each is visited in passes without end, and an epoch takes the next weight · pairCount positions of them; so
 *   a weight of 0.5 gives one half in one epoch and the other half in the next, a weight of 2 each pair twice. The
 *   draws of the parts are interleaved at random, in each part's own order.
 *
 * @param epoch from 0
 * @param shuffle false for the order of the source
 * @returns positions, a multiple of batchSize
 */
export function datasetOrder(
  dataset: Sampled,
  batchSize: number,
  seed: number,
  epoch: number,
  shuffle: boolean,
): Int32Array {
  const { pairCount, groups, parts } = dataset;
  if (parts === undefined && (groups === undefined || !shuffle)) {
    return epochOrder(pairCount, batchSize, seed, epoch, shuffle);
  }
  const visited =
    parts === undefined
      ? onePass(dataset, new Random(seed, 'epoch', epoch))
      : mixedOrder(parts, seed, epoch, shuffle);
  const order = new Int32Array(Math.ceil(visited.length / batchSize) * batchSize);
  for (let i = 0; i < order.length; i++) order[i] = visited[i % visited.length];
  return order;
}

/** Every position once. */
function onePass({ pairCount, groups, shuffleBuffer }: Sampled, random: Random | undefined): Int32Array {
  const positions = Int32Array.from({ length: pairCount }, (_, i) => i);
  if (random === undefined) return positions;
  if (groups === undefined) return random.shuffle(positions);
  const order = random.shuffle(Int32Array.from(groups.keys()));
  let filled = 0;
  for (const group of order) {
    const end = group + 1 < groups.length ? groups[group + 1] : pairCount;
    for (let position = groups[group]; position < end; position++) positions[filled++] = position;
  }
  return throughBuffer(positions, shuffleBuffer ?? defaultShuffleBuffer, random);
}

/** A buffer holds the next `size` values; each draw gives one of them, and the value after them takes its place. */
function throughBuffer(values: Int32Array, size: number, random: Random): Int32Array {
  const buffer = values.slice(0, size);
  const drawn = new Int32Array(values.length);
  for (let i = 0, left = buffer.length; i < drawn.length; i++) {
    const slot = random.integer(left);
    drawn[i] = buffer[slot];
    buffer[slot] = size + i < values.length ? values[size + i] : buffer[--left];
  }
  return drawn;
}

function drawsOf({ pairCount, weight }: WeightedPart): number {
  return pairCount === 0 ? 0 : Math.max(1, Math.round(pairCount * weight));
}

function mixedOrder(
  parts: readonly WeightedPart[],
  seed: number,
  epoch: number,
  shuffle: boolean,
): Int32Array {
  let start = 0;
  const draws = parts.map((part, index) => {
    const positions = partDraws(part, index, seed, epoch, shuffle).map((position) => start + position);
    start += part.pairCount;
    return positions;
  });
  const mixed = new Int32Array(draws.reduce((sum, { length }) => sum + length, 0));
  const next = draws.map(() => 0);
  const random = new Random(seed, 'epoch', epoch, 'mixture');
  for (let i = 0, part = 0; i < mixed.length; i++) {
    if (shuffle) {
      // Each remaining draw of any part is equally likely to be the next.
      let at = random.integer(mixed.length - i);
      for (part = 0; at >= draws[part].length - next[part]; part++) at -= draws[part].length - next[part];
    } else while (next[part] === draws[part].length) part++;
    mixed[i] = draws[part][next[part]++];
  }
  return mixed;
}

/** What an epoch takes of a part's passes: those of its positions that come next. */
function partDraws(
  part: WeightedPart,
  index: number,
  seed: number,
  epoch: number,
  shuffle: boolean,
): Int32Array {
  const draws = new Int32Array(drawsOf(part));
  let at = epoch * draws.length;
  for (let filled = 0; filled < draws.length; ) {
    const pass = Math.floor(at / part.pairCount);
    const order = onePass(part, shuffle ? new Random(seed, 'pass', pass, index) : undefined);
    const taken = order.subarray(at % part.pairCount).subarray(0, draws.length - filled);
    draws.set(taken, filled);
    filled += taken.length;
    at += taken.length;
  }
  return draws;
}
