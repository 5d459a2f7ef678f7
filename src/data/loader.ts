import { UserError } from '../errors.js';
import { prepareCaption, type Tokenizer } from '../text/tokenizer.js';
import type { Dataset } from './dataset.js';
import { ImageWorkerPool } from './imageWorkerPool.js';
import { datasetOrder, epochLength } from './sampler.js';

export interface LoaderOptions {
  dataset: Dataset;
  tokenizer: Pick<Tokenizer, 'encodeBatch'>;
  /** side of the model's input image, pixels */
  resolution: number;
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
  /** whether batches hold pixels; without, no image is decoded for them (images() gives pixels always) */
  pixels: boolean;
}

export interface Batch {
  n: number;
  /** token ids a text */
  length: number;
  /** [n, length] */
  ids: Int32Array;
  /** [n, 3, resolution, resolution], preprocessed; absent when the loader gives no pixels */
  pixels?: Float32Array;
  /** image row of each pair */
  imageRows: Int32Array;
  /** dataset position of each pair */
  pairs: Int32Array;
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

/** What a loader has given so far. */
export interface LoaderStatistics {
  batches: number;
  samples: number;
  /** texts longer than contextLength, which lost their end */
  cutTexts: number;
  /** how long consumers waited for pixels */
  waitSeconds: number;
}

/** The pairs of a batch before anything is read. */
interface PairRequest {
  pairs: Int32Array;
  imageRows: Int32Array;
}

interface Loaded {
  pixels: Float32Array;
  waitSeconds: number;
}

/**
 * Batches of a dataset split, with images decoded in worker threads ahead of their turn. The order depends on seed and
 * epoch alone, not on the number of workers.
 */
export class BatchLoader {
  readonly statistics: LoaderStatistics = { batches: 0, samples: 0, cutTexts: 0, waitSeconds: 0 };
  readonly #options: LoaderOptions;
  readonly #pool: ImageWorkerPool;

  constructor(options: LoaderOptions) {
    const { dataset, resolution, workers } = options;
    this.#options = options;
    this.#pool = new ImageWorkerPool(workers, { source: dataset.imageSource, resolution });
  }

  get dataset(): Dataset {
    return this.#options.dataset;
  }

  get batchesPerEpoch(): number {
    return Math.ceil(epochLength(this.dataset) / this.#options.batchSize);
  }

  /**
   * The batches of an epoch, from `startBatch` on: what an uninterrupted epoch would have given from there.
   *
   * @throws UserError for a split without pairs, or naming file, line and id of an image or text that is broken;
   * Error when a worker died
   */
  async *batches(epoch: number, startBatch = 0): AsyncGenerator<Batch> {
    const requests = this.#pairRequests(epoch, startBatch);
    if (this.#options.pixels) {
      for await (const loaded of this.#load(requests)) yield this.#complete(loaded, loaded);
    } else {
      for (const request of requests) yield this.#complete(request);
    }
  }

  /** Every image of the split once, in row order; the last batch may be smaller. Throws as `batches` does. */
  async *images(): AsyncGenerator<ImageBatch> {
    const requests = imageRequests(this.dataset.imageCount, this.#options.batchSize);
    for await (const { imageRows, pixels, waitSeconds } of this.#load(requests)) {
      yield { n: imageRows.length, pixels, imageRows, waitSeconds };
    }
  }

  /** Ends the workers at once. The dataset stays open: it belongs to the caller. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  *#pairRequests(epoch: number, startBatch: number): Generator<PairRequest> {
    const { dataset, batchSize, seed, shuffle } = this.#options;
    if (dataset.pairCount === 0) {
      throw new UserError(`${dataset.location}: no pairs to train on, no text has an image`);
    }
    const order = datasetOrder(dataset, batchSize, seed, epoch, shuffle);
    for (let start = startBatch * batchSize; start < order.length; start += batchSize) {
      const pairs = order.slice(start, start + batchSize);
      yield { pairs, imageRows: pairs.map((pair) => dataset.pairImageRows[pair]) };
    }
  }

  /** Adds the pixels to each request. `readAhead` requests are with the workers while the consumer has one. */
  async *#load<R extends { imageRows: Int32Array }>(requests: Iterator<R>): AsyncGenerator<R & Loaded> {
    const ahead: { request: R; loading: Promise<Float32Array> }[] = [];
    const requestNext = () => {
      const { value: request, done } = requests.next();
      if (done) return;
      const loading = this.#pool.load(request.imageRows);
      // An error is for the consumer, when it comes to this batch; till then it counts as seen.
      loading.catch(() => {});
      ahead.push({ request, loading });
    };
    for (let i = 0; i < this.#options.readAhead; i++) requestNext();
    for (;;) {
      requestNext();
      const next = ahead.shift();
      if (!next) return;
      const began = performance.now();
      const pixels = await next.loading;
      const waitSeconds = (performance.now() - began) / 1000;
      this.statistics.waitSeconds += waitSeconds;
      yield { ...next.request, pixels, waitSeconds };
    }
  }

  #complete({ pairs, imageRows }: PairRequest, loaded?: Loaded): Batch {
    const { dataset, tokenizer, contextLength } = this.#options;
    const texts = Array.from(pairs, (pair) => prepareCaption(dataset.caption(pair).text));
    const { ids, n, length, cut } = tokenizer.encodeBatch(texts, contextLength);
    this.statistics.batches++;
    this.statistics.samples += n;
    this.statistics.cutTexts += cut;
    return {
      n,
      length,
      ids,
      pixels: loaded?.pixels,
      imageRows,
      pairs,
      waitSeconds: loaded?.waitSeconds ?? 0,
    };
  }
}

function* imageRequests(imageCount: number, batchSize: number): Generator<{ imageRows: Int32Array }> {
  for (let start = 0; start < imageCount; start += batchSize) {
    const n = Math.min(batchSize, imageCount - start);
    yield { imageRows: Int32Array.from({ length: n }, (_, i) => start + i) };
  }
}
