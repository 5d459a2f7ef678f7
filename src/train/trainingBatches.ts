import type { BatchLoader } from '../data/loader.js';
import type { TrainingBatch } from './batch.js';

/** Image features of all pictures of the data, a row for each. */
export type CachedFeatures = Pick<TrainingBatch, 'imageFeatures' | 'teacherFeatures'>;

/** The batches that remain of a stage after some steps, epoch after epoch, with those features that are cached. */
export async function* trainingBatches(
  loader: BatchLoader,
  features: CachedFeatures,
  stepsTaken: number,
  epochs: number,
) {
  const firstEpoch = Math.floor(stepsTaken / loader.batchesPerEpoch);
  let skipped = stepsTaken % loader.batchesPerEpoch;
  for (let epoch = firstEpoch; epoch < epochs; epoch++) {
    for await (const { n, length, ids, pixels, imageRows, waitSeconds } of loader.batches(epoch, skipped)) {
      const batch: TrainingBatch = { n, length, ids, pixels };
      for (const [name, all] of Object.entries(features) as [keyof CachedFeatures, Float32Array][]) {
        batch[name] = rowsOf(all, imageRows, all.length / loader.dataset.imageCount);
      }
      yield { batch, epoch, dataTime: waitSeconds };
    }
    skipped = 0;
  }
}

function rowsOf(all: Float32Array, rows: ArrayLike<number>, width: number): Float32Array {
  const chosen = new Float32Array(rows.length * width);
  for (let i = 0; i < rows.length; i++) {
    chosen.set(all.subarray(rows[i] * width, (rows[i] + 1) * width), i * width);
  }
  return chosen;
}
