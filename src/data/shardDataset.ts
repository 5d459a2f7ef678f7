import { UserError } from '../errors.js';
import type { Caption, Dataset, Id, ImageSource, Pair, StoredImage, TextRecord } from './dataset.js';
import { startsOf } from './groups.js';

/**
 * What one of several processes trains on: every `count`-th group of a dataset's pairs (shards of a tar, row groups of
 * Parquet), or, where there are no groups, every `count`-th pair. Images and texts stay all of the dataset's, with their
 * rows and ids.
 */
export class ShardDataset implements Dataset {
  readonly pairImageRows: Int32Array;
  readonly pairTextRows: Int32Array;
  readonly groups: Int32Array | undefined;
  /** position in the whole dataset of each pair */
  readonly #positions: Int32Array;

  /** @throws UserError where there is nothing for this process: fewer groups or pairs than processes */
  constructor(
    private readonly whole: Dataset,
    { index, count }: { index: number; count: number },
  ) {
    const { groups, pairCount, location } = whole;
    if (index >= count) throw new UserError(`shard ${index} of ${count}: they are counted from 0`);
    const total = groups === undefined ? pairCount : groups.length;
    if (total < count) {
      const what = groups === undefined ? 'pairs' : 'shards or row groups';
      throw new UserError(`${location}: ${total} ${what} can't be divided among ${count} processes`);
    }
    if (groups === undefined) {
      const length = Math.ceil((pairCount - index) / count);
      this.#positions = Int32Array.from({ length }, (_, i) => index + i * count);
    } else {
      const own = Array.from(groups.keys()).filter((group) => group % count === index);
      const sizes = own.map((group) => (groups[group + 1] ?? pairCount) - groups[group]);
      this.#positions = Int32Array.from(
        own.flatMap((group, i) => Array.from({ length: sizes[i] }, (_, k) => groups[group] + k)),
      );
      this.groups = startsOf(sizes);
    }
    this.pairImageRows = this.#positions.map((position) => whole.pairImageRows[position]);
    this.pairTextRows = this.#positions.map((position) => whole.pairTextRows[position]);
  }

  get location(): string {
    return this.whole.location;
  }

  get length(): number {
    return this.pairCount;
  }

  get pairCount(): number {
    return this.#positions.length;
  }

  get imageCount(): number {
    return this.whole.imageCount;
  }

  get textCount(): number {
    return this.whole.textCount;
  }

  get unpairedTextCount(): number {
    return this.whole.unpairedTextCount;
  }

  get imageSource(): ImageSource {
    return this.whole.imageSource;
  }

  get shuffleBuffer(): number | undefined {
    return this.whole.shuffleBuffer;
  }

  caption(position: number): Caption {
    return this.whole.caption(this.#positions[position]);
  }

  pair(position: number): Promise<Pair> {
    return this.whole.pair(this.#positions[position]);
  }

  imageId(row: number): Id {
    return this.whole.imageId(row);
  }

  image(row: number): StoredImage | Promise<StoredImage> {
    return this.whole.image(row);
  }

  texts(): Generator<TextRecord> {
    return this.whole.texts();
  }

  close(): void {
    this.whole.close();
  }
}
