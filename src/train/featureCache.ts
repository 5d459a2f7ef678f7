import type { StageConfig } from '../config/training.js';
import type { Dataset } from '../data/dataset.js';
import type { BatchLoader } from '../data/loader.js';
import { encodeImages } from '../eval/encode.js';
import type { ModelConfig } from '../model/config.js';
import type { Model } from '../model/model.js';
import { type Stage, type TrainingRun, trainingLoader } from './stage.js';

/** Bytes of image features above which they are computed anew in every step. */
const MAX_CACHED_BYTES = 2 ** 31;

/**
 * Whether an image tower that is not trained computes its features once for a whole stage: without augmentation nothing
 * changes its pictures. The features must fit in memory.
 */
export function isCached({ augment }: StageConfig, dataset: Dataset, config: ModelConfig): boolean {
  return !augment && dataset.imageCount * config.embed_dim * 4 <= MAX_CACHED_BYTES;
}

/**
 * A teacher's features of all pictures, [images, embed_dim], not normalised. One of another resolution than the model
 * sees them resized for it.
 *
 * @param loader of the stage, with pixels of the model's resolution
 */
export async function teacherFeatures(
  run: TrainingRun,
  stage: Stage,
  teacher: Model,
  loader: BatchLoader,
): Promise<Float32Array> {
  const { image_resolution: resolution } = teacher.config;
  if (resolution === run.model.config.image_resolution) return encodeImages(teacher, loader, run.reporter);
  // Broken pictures are told of by the other loader, which comes to them, too.
  const own = trainingLoader(run, stage, { pixels: false, resolution, report: () => {} });
  try {
    return await encodeImages(teacher, own, run.reporter);
  } finally {
    await own.close();
  }
}
