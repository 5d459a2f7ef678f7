import type { ImageSource } from '../data/dataset.js';
import { ImageWorkerPool } from '../data/imageWorkerPool.js';
import { readAhead } from '../data/readAhead.js';
import { UserError } from '../errors.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { rowBatches } from '../rows.js';

/** What pictures are encoded with. */
export interface ImageEncoding {
  model: DualEncoder;
  batchSize: number;
  /** threads that decode and resize */
  workers: number;
}

/** Batches that the workers have been asked for before their turn. */
const READ_AHEAD = 4;

/**
 * Features of the pictures from row `begin` to below `end`, in their order, batch by batch: Float32Array
 * [batch, embed_dim], not normalised. Worker threads decode ahead of the model; they end with the generator.
 *
 * @param convertFirst whether pictures become RGB before they are resized, as torchvision's ImageFolder reads them
 * @throws UserError naming a picture that can't be read or decoded
 */
export async function* encodeRows(
  { model, batchSize, workers }: ImageEncoding,
  source: ImageSource,
  begin: number,
  end: number,
  convertFirst = false,
): AsyncGenerator<Float32Array> {
  const pool = new ImageWorkerPool(workers, {
    source,
    resolution: model.config.image_resolution,
    convertFirst,
  });
  const load = async (rows: Int32Array) => {
    const { pixels, failures } = await pool.load(rows);
    for (const failure of failures.values()) throw new UserError(failure);
    return pixels;
  };
  try {
    const batches = rowBatches(begin, end, batchSize);
    for await (const { request: rows, loaded } of readAhead(batches, load, READ_AHEAD)) {
      yield model.encodeImages(loaded, rows.length);
    }
  } finally {
    await pool.close();
  }
}
