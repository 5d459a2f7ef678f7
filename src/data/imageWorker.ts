import { createHash } from 'node:crypto';
import { workerData } from 'node:worker_threads';
import sharp from 'sharp';
import { UserError } from '../errors.js';
import { augmentImage } from '../image/augment/augment.js';
import { decodeImage } from '../image/decode.js';
import { convertToRgb, normalizePixels, resizeToRgb } from '../image/preprocess.js';
import { answerRequests } from '../io/threadPool.js';
import { Random } from '../random.js';
import type { ImageSource } from './dataset.js';
import { pictureDone } from './garbage.js';
import { openImages } from './images.js';

/** What a worker is started with. */
export interface WorkerSettings {
  source: ImageSource;
  /** of the pixels */
  resolution: number;
  /** RGB before resizing; see convertToRgb */
  convertFirst?: boolean;
}

/** Keys of each picture's random stream, where pictures are augmented (see Random); `pairs` go with the rows. */
export interface Augmentation {
  seed: number;
  epoch: number;
  pairs: Int32Array;
}

/** What is asked of some rows: pixels, or a hash of the bytes, after they were decoded as a check or without. */
export type Task = 'pixels' | 'check' | 'hash';

export interface Job {
  task: Task;
  rows: Int32Array;
  augmentation?: Augmentation;
}

/** What came of some rows: either pixels or hashes. Those of a picture that can't be read are 0. */
export interface Loaded {
  /** float32 [rows, 3, resolution, resolution] */
  pixels: Float32Array<ArrayBuffer>;
  /** [rows, 2]: the first 64 bits of SHA-256 */
  hashes: Uint32Array<ArrayBuffer>;
  /** of pictures that can't be read or decoded: what is wrong, naming them, by their place in the rows */
  failures: Map<number, string>;
}

const { source, resolution, convertFirst } = workerData as WorkerSettings;
const images = openImages(source);
const values = 3 * resolution ** 2;

// One thread per worker is the whole of its share; no picture is decoded twice.
sharp.concurrency(1);
sharp.cache(false);

/** New memory for each picture would cost more than resizing. */
const resizedPixels = new Uint8Array(values);

answerRequests<Job, Loaded>(async ({ task, rows, augmentation }) => {
  const pixels = new Float32Array(task === 'pixels' ? rows.length * values : 0);
  const hashes = new Uint32Array(task === 'pixels' ? 0 : rows.length * 2);
  const failures = new Map<number, string>();
  for (const [place, row] of rows.entries()) {
    try {
      const { bytes, name } = await images.read(row);
      if (task !== 'pixels') hashes.set(hashOf(bytes), place * 2);
      if (task === 'hash') continue;
      const image = await decodeImage(bytes, name);
      if (task === 'check') continue;
      const key = augmentation && ['augment', augmentation.epoch, augmentation.pairs[place]];
      const resized = key
        ? augmentImage(image, resolution, new Random(augmentation.seed, ...key))
        : resizeToRgb(convertFirst ? convertToRgb(image) : image, resolution, resizedPixels);
      normalizePixels(resized, pixels, place * values);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      failures.set(place, error.message);
    }
    pictureDone();
  }
  return [{ pixels, hashes, failures }, [pixels.buffer, hashes.buffer]];
});

function hashOf(bytes: Uint8Array): [number, number] {
  const digest = createHash('sha256').update(bytes).digest();
  return [digest.readUInt32BE(0), digest.readUInt32BE(4)];
}
