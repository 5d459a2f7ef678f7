import { parentPort, workerData } from 'node:worker_threads';
import sharp from 'sharp';
import { messageOf, UserError } from '../errors.js';
import { augmentImage } from '../image/augment/augment.js';
import { decodeImage } from '../image/decode.js';
import { normalizePixels, resizeToRgb } from '../image/preprocess.js';
import { Random } from '../random.js';
import type { ImageSource } from './dataset.js';
import { collectGarbage } from './garbage.js';
import { openImages } from './images.js';

/** What a worker is started with. */
export interface WorkerSettings {
  source: ImageSource;
  resolution: number;
}

export interface ImageRequest {
  /** the pictures */
  rows: Int32Array;
  /** Keys of each picture's random stream, where pictures are augmented; see Random. */
  augment?: { seed: number; epoch: number; pairs: Int32Array };
}

export interface Job extends ImageRequest {
  job: number;
}

export type JobResult =
  | { job: number; pixels: Float32Array<ArrayBuffer> }
  | { job: number; error: string; isUserError: boolean };

const { source, resolution } = workerData as WorkerSettings;
const images = openImages(source);
const values = 3 * resolution ** 2;

// One thread per worker is the whole of its share; no picture is decoded twice.
sharp.concurrency(1);
sharp.cache(false);

/** Jobs run one after the other, in the order they came. */
let last = Promise.resolve();
parentPort!.on('message', (job: Job) => {
  last = last.then(() => run(job));
});

async function run({ job, rows, augment }: Job): Promise<void> {
  try {
    const pixels = new Float32Array(rows.length * values);
    for (let i = 0; i < rows.length; i++) {
      const { bytes, name } = await images.read(rows[i]);
      const image = await decodeImage(bytes, name);
      const resized = augment
        ? augmentImage(
            image,
            resolution,
            new Random(augment.seed, 'augment', augment.epoch, augment.pairs[i]),
          )
        : resizeToRgb(image, resolution);
      normalizePixels(resized, pixels, i * values);
      collectGarbage();
    }
    parentPort!.postMessage({ job, pixels } satisfies JobResult, [pixels.buffer]);
  } catch (error) {
    const result: JobResult = { job, error: messageOf(error), isUserError: error instanceof UserError };
    parentPort!.postMessage(result);
  }
}
