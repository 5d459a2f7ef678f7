import { parentPort, workerData } from 'node:worker_threads';
import sharp from 'sharp';
import { messageOf, UserError } from '../errors.js';
import { preprocessImage } from '../image/preprocess.js';
import type { ImageSource } from './dataset.js';
import { openImages } from './images.js';

/** What a worker is started with. */
export interface WorkerSettings {
  source: ImageSource;
  resolution: number;
  /** see preprocessImage */
  convertFirst?: boolean;
}

export interface Job {
  job: number;
  rows: Int32Array;
}

export type JobResult =
  | { job: number; pixels: Float32Array<ArrayBuffer> }
  | { job: number; error: string; isUserError: boolean };

const { source, resolution, convertFirst } = workerData as WorkerSettings;
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

async function run({ job, rows }: Job): Promise<void> {
  try {
    const pixels = new Float32Array(rows.length * values);
    for (let i = 0; i < rows.length; i++) {
      const { bytes, name } = await images.read(rows[i]);
      await preprocessImage(bytes, resolution, pixels, i * values, name, convertFirst);
    }
    parentPort!.postMessage({ job, pixels } satisfies JobResult, [pixels.buffer]);
  } catch (error) {
    const result: JobResult = { job, error: messageOf(error), isUserError: error instanceof UserError };
    parentPort!.postMessage(result);
  }
}
