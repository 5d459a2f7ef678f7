import { UserError } from '../errors.js';
import { rowBatches } from '../rows.js';
import { prepareText, type Tokenizer } from '../text/tokenizer.js';
import { BrokenImages } from './brokenImages.js';
import type { Dataset } from './dataset.js';
import type { Augmentation } from './imageWorker.js';
import { ImageWorkerPool } from './imageWorkerPool.js';
import { readAhead } from './readAhead.js';
import { replacePairs } from './replacePairs.js';
import { datasetOrder, epochLength } from './sampler.js';
import { numberTexts, type PairKeys, separateDuplicates } from './uniqueCaptions.js';

export interface LoaderOptions {
  dataset: Dataset;
  tokenizer: Pick<Tokenizer, 'encodeBatch'>;
  /** side of the model's input image, pixels */
  resolution: number;
  /** side of the pictures that batches hold for a teacher, too, where it is another one */
  teacherResolution?: number;
  /** token ids a text, [CLS] and [SEP] included */
  contextLength: number;
  batchSize: number;
  /** of the order; see datasetOrder */
  seed: number;
  shuffle: boolean;
  /** threads that decode and resize */
  workers: number;
  /** batches requested from the workers before their turn */
  readAhead: number;
  /**
   * whether the pictures of batches are augmented (by default not): a pure function of seed, epoch and the pair's position. images()
   * gives them as they are.
   */
  augment?: boolean;
  /** whether batches hold pixels; without, no image is decoded for them (images() gives pixels always) */
  pixels: boolean;
  /** whether batches should have no text and no image twice; see separateDuplicates. By default false */
  uniqueCaptions?: boolean;
  /**
   * share of the images that may be broken, in [0, 1]: they are reported, and their pairs replaced (see replacePairs).
   * By default the first one is an error
   */
  maxBrokenRate?: number;
  /** told what one should know, such as each broken picture; nobody by default */
  report?: (line: string) => void;
}

export interface Batch {
  n: number;
  /** token ids a text */
  length: number;
  /** [n, length] */
  ids: Int32Array;
  /** [n, 3, resolution, resolution], preprocessed; absent when the loader gives no pixels */
  pixels?: Float32Array;
  /** [n, 3, teacherResolution, teacherResolution]: the same pictures, augmented alike; absent where that is the resolution */
  teacherPixels?: Float32Array;
  /** image row of each pair */
  imageRows: Int32Array;
  /** dataset position of each pair */
  pairs: Int32Array;
  /** how many texts were longer than contextLength, and lost their end */
  cutTexts: number;
  /** how many pairs have the text or the image of an earlier pair of the batch */
  repeatedPairs: number;
  /** how many pairs stand in for one whose picture is broken */
  replacedPairs: number;
  /** how long the consumer waited for it, in seconds */
  waitSeconds: number;
}

export interface ImageBatch {
  n: number;
  /** [n, 3, resolution, resolution], preprocessed */
  pixels: Float32Array;
  imageRows: Int32Array;
  waitSeconds: number;
}

/** Sums over the batches that a loader has given so far. */
export interface LoaderStatistics {
  batches: number;
  samples: number;
  cutTexts: number;
  waitSeconds: number;
}

/** A batch before anything is read: its place in the order of its epoch. */
interface Place {
  epoch: number;
  order: Int32Array;
  start: number;
}

/** The pairs of a batch and their pictures. */
type Loaded = Pick<Batch, 'pairs' | 'pixels' | 'teacherPixels'>;

/**
 * Batches of a dataset split, with images decoded in worker threads ahead of their turn. The order depends on seed and
 * epoch alone, not on the number of workers.
 */
export class BatchLoader {
  readonly statistics: LoaderStatistics = { batches: 0, samples: 0, cutTexts: 0, waitSeconds: 0 };
  readonly #options: LoaderOptions;
  readonly #pool: ImageWorkerPool;
  readonly #teacherPool: ImageWorkerPool | undefined;
  readonly #broken: BrokenImages | undefined;
  #pairKeys: PairKeys | undefined;

  constructor(options: LoaderOptions) {
    const { dataset, resolution, workers, maxBrokenRate, report = () => {} } = options;
    const { teacherResolution = resolution } = options;
    this.#options = options;
    this.#pool = new ImageWorkerPool(workers, { source: dataset.imageSource, resolution });
    if (teacherResolution !== resolution) {
      const settings = { source: dataset.imageSource, resolution: teacherResolution };
      this.#teacherPool = new ImageWorkerPool(workers, settings);
    }
    if (maxBrokenRate !== undefined) {
      this.#broken = new BrokenImages(dataset.imageCount, maxBrokenRate, report);
    }
  }

  get dataset(): Dataset {
    return this.#options.dataset;
  }

  get batchesPerEpoch(): number {
    return Math.ceil(epochLength(this.dataset) / this.#options.batchSize);
  }

  /** How many images were found broken so far. */
  get brokenImages(): number {
    return this.#broken?.count ?? 0;
  }

  /**
   * The batches of an epoch, from `startBatch` on: what an uninterrupted epoch would have given from there. Without
   * pixels, images are known to be broken once `images` came to them.
   *
   * @throws UserError for a split without pairs, naming file, line and id of a text that is broken, or of an image
   * unless there is a maxBrokenRate, and above that rate; Error when a worker died
   */
  async *batches(epoch: number, startBatch = 0): AsyncGenerator<Batch> {
    const load = (place: Place): Loaded | Promise<Loaded> =>
      this.#options.pixels ? this.#load(place) : { pairs: this.#pairsAt(place) };
    const places = this.#places(epoch, startBatch);
    for await (const { request, loaded, waitSeconds } of readAhead(places, load, this.#options.readAhead)) {
      yield this.#complete(request, loaded, waitSeconds);
    }
  }

  /**
   * Every image of the split once, in row order; the last batch may be smaller. Where broken images are let pass,
   * their pixels are 0. Throws as `batches` does.
   */
  async *images(): AsyncGenerator<ImageBatch> {
    const requests = rowBatches(0, this.dataset.imageCount, this.#options.batchSize);
    const read = (rows: Int32Array) => this.#read(rows);
    for await (const { request, loaded, waitSeconds } of readAhead(requests, read, this.#options.readAhead)) {
      this.statistics.waitSeconds += waitSeconds;
      yield { n: request.length, pixels: loaded.pixels, imageRows: request, waitSeconds };
    }
  }

  /** Ends the workers at once. The dataset stays open: it belongs to the caller. */
  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#teacherPool?.close()]);
  }

  *#places(epoch: number, startBatch: number): Generator<Place> {
    const { dataset, batchSize } = this.#options;
    if (dataset.pairCount === 0) {
      throw new UserError(`${dataset.location}: no pairs to train on, no text has an image`);
    }
    const order = this.#order(epoch);
    for (let start = startBatch * batchSize; start < order.length; start += batchSize)
      yield { epoch, order, start };
  }

  #order(epoch: number): Int32Array {
    const { dataset, batchSize, seed, shuffle, uniqueCaptions, report } = this.#options;
    const shuffled = datasetOrder(dataset, batchSize, seed, epoch, shuffle);
    if (!uniqueCaptions) return shuffled;
    this.#pairKeys ??= pairKeys(dataset);
    const { order, unplaced } = separateDuplicates(shuffled, batchSize, this.#pairKeys);
    if (unplaced > 0) {
      report?.(
        `epoch ${epoch + 1}: ${unplaced} of ${order.length} pairs share a batch with their own text or image, ` +
          'there is no other place for them',
      );
    }
    return order;
  }

  /** The pairs of a batch, without those whose image is known to be broken. */
  #pairsAt({ order, start }: Place): Int32Array {
    const { dataset, batchSize } = this.#options;
    const isUsable = (pair: number) => !this.#broken?.has(dataset.pairImageRows[pair]);
    return replacePairs(order, start, batchSize, isUsable, this.#pairKeys);
  }

  /** Pairs and pixels of a batch. As long as images turn out to be broken, others take the place of their pairs. */
  async #load(place: Place): Promise<Loaded> {
    let pairs = this.#pairsAt(place);
    let { pixels, failures } = await this.#readPairs(place.epoch, pairs);
    while (failures.size > 0) {
      const replaced = this.#pairsAt(place);
      const changed = [...replaced.keys()].filter((i) => replaced[i] !== pairs[i]);
      const more = await this.#readPairs(
        place.epoch,
        Int32Array.from(changed, (i) => replaced[i]),
      );
      const values = pixels.length / pairs.length;
      for (const [i, to] of changed.entries()) {
        pixels.set(more.pixels.subarray(i * values, (i + 1) * values), to * values);
      }
      pairs = replaced;
      failures = more.failures;
    }
    return { pairs, pixels, teacherPixels: await this.#readForTeacher(place.epoch, pairs) };
  }

  #imageRows(pairs: Int32Array): Int32Array {
    return pairs.map((pair) => this.dataset.pairImageRows[pair]);
  }

  #readPairs(epoch: number, pairs: Int32Array): ReturnType<ImageWorkerPool['load']> {
    return this.#read(this.#imageRows(pairs), this.#augmentation(epoch, pairs));
  }

  /** The same pictures for the teacher, once it is known that they can be read. */
  async #readForTeacher(epoch: number, pairs: Int32Array): Promise<Float32Array | undefined> {
    if (this.#teacherPool === undefined) return undefined;
    const augmentation = this.#augmentation(epoch, pairs);
    const { pixels, failures } = await this.#teacherPool.load(this.#imageRows(pairs), augmentation);
    for (const failure of failures.values()) throw new UserError(failure);
    return pixels;
  }

  #augmentation(epoch: number, pairs: Int32Array): Augmentation | undefined {
    const { seed, augment } = this.#options;
    return augment ? { seed, epoch, pairs } : undefined;
  }

  /** @throws UserError for a broken image, unless there is a maxBrokenRate, and above that rate */
  async #read(rows: Int32Array, augmentation?: Augmentation): ReturnType<ImageWorkerPool['load']> {
    const loaded = await this.#pool.load(rows, augmentation);
    const [failure] = loaded.failures.values();
    if (failure !== undefined && this.#broken === undefined) throw new UserError(failure);
    this.#broken?.note(rows, loaded.failures);
    return loaded;
  }

  #complete({ order, start }: Place, { pairs, pixels, teacherPixels }: Loaded, loadSeconds: number): Batch {
    const { dataset, tokenizer, contextLength } = this.#options;
    const began = performance.now();
    const imageRows = this.#imageRows(pairs);
    const texts = Array.from(pairs, (pair) => prepareText(dataset.caption(pair).text));
    const { ids, n, length, cut } = tokenizer.encodeBatch(texts, contextLength);
    const waitSeconds = loadSeconds + (performance.now() - began) / 1000;
    this.statistics.batches++;
    this.statistics.samples += n;
    this.statistics.cutTexts += cut;
    this.statistics.waitSeconds += waitSeconds;
    return {
      n,
      length,
      ids,
      pixels,
      teacherPixels,
      imageRows,
      pairs,
      cutTexts: cut,
      repeatedPairs: countRepeated(texts, imageRows),
      replacedPairs: pairs.filter((pair, i) => pair !== order[start + i]).length,
      waitSeconds,
    };
  }
}

/** What uniqueCaptions compares: equal texts have the same number, whichever of their rows they stand in. */
function pairKeys(dataset: Dataset): PairKeys {
  const numbers = numberTexts(dataset.texts(), dataset.textCount);
  return { texts: dataset.pairTextRows.map((row) => numbers[row]), images: dataset.pairImageRows };
}

function countRepeated(texts: readonly string[], imageRows: Int32Array): number {
  const seenTexts = new Set<string>();
  const seenImages = new Set<number>();
  let repeated = 0;
  for (const [i, text] of texts.entries()) {
    if (seenTexts.has(text) || seenImages.has(imageRows[i])) repeated++;
    seenTexts.add(text);
    seenImages.add(imageRows[i]);
  }
  return repeated;
}
