import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, parse, relative, resolve } from 'node:path';
import { ImageWorkerPool } from '../../data/imageWorkerPool.js';
import { KeyTableBuilder } from '../../data/keyTable.js';
import { readAhead } from '../../data/readAhead.js';
import { UserError } from '../../errors.js';
import { bytesOf } from '../../io/readFile.js';
import type { Reporter } from '../../io/terminal.js';
import type { DualEncoder } from '../../model/dualEncoder.js';
import { normalize } from '../ranking.js';
import type { ClassificationDataset } from './dataset.js';

export interface ImageEncoding {
  model: DualEncoder;
  batchSize: number;
  /** threads that decode and resize */
  workers: number;
}

/** Batches that the workers have been asked for before their turn. */
const READ_AHEAD = 4;

/**
 * Normalised features of all pictures of a dataset, in its order: Float32Array [images, embed_dim]. What is done is
 * kept in `partial`, under `key`, and a run that was stopped goes on from there.
 *
 * @param key changes with all that the features depend on, 64 hexadecimal digits
 * @throws UserError naming a picture that can't be read or decoded
 */
export async function encodePictures(
  { model, batchSize, workers }: ImageEncoding,
  { name, folder, images }: ClassificationDataset,
  partial: string,
  key: string,
  reporter: Reporter,
): Promise<Float32Array> {
  const { embed_dim: width, image_resolution: resolution } = model.config;
  const features = new Float32Array(images.length * width);
  // Whole batches, so that going on gives the bits of a run that was not stopped.
  const done = Math.floor(restore(partial, key, features) / width / batchSize) * batchSize;
  truncateSync(partial, key.length + done * width * 4);
  const names = new KeyTableBuilder();
  // Class folders may be links to anywhere; a labels file was held to its folder when it was read.
  const { root } = parse(resolve(folder));
  for (const image of images) names.add(relative(root, resolve(folder, image)));
  const pool = new ImageWorkerPool(workers, {
    source: { kind: 'files', root, names: names.build() },
    resolution,
    // The reference reads class folders with torchvision's ImageFolder.
    convertFirst: true,
  });
  const load = async (rows: Int32Array) => {
    const { pixels, failures } = await pool.load(rows);
    for (const failure of failures.values()) throw new UserError(failure);
    return pixels;
  };
  reporter.begin(`${name}: pictures`, images.length, done);
  try {
    const requests = rowBatches(done, images.length, batchSize);
    for await (const { request: rows, loaded: pixels } of readAhead(requests, load, READ_AHEAD)) {
      const unit = normalize(await model.encodeImages(pixels, rows.length), width);
      features.set(unit, rows[0] * width);
      appendFileSync(partial, bytesOf(unit));
      reporter.advance(rows[0] + rows.length);
    }
    return features;
  } finally {
    reporter.end();
    await pool.close();
  }
}

/** The rows from `start` to below `end`, in batches. */
function* rowBatches(start: number, end: number, batchSize: number): Generator<Int32Array> {
  for (let first = start; first < end; first += batchSize) {
    yield Int32Array.from({ length: Math.min(batchSize, end - first) }, (_, i) => first + i);
  }
}

/** Reads what an earlier run has done, and how many values that are; a file of another key is begun anew. */
function restore(partial: string, key: string, features: Float32Array): number {
  if (existsSync(partial)) {
    const bytes = readFileSync(partial);
    const values = Math.floor((bytes.length - key.length) / 4);
    if (bytes.toString('latin1', 0, key.length) === key && values <= features.length) {
      bytes.copy(bytesOf(features), 0, key.length, key.length + values * 4);
      return values;
    }
  }
  mkdirSync(join(partial, '..'), { recursive: true });
  rmSync(partial, { force: true });
  writeFileSync(partial, key);
  return 0;
}
