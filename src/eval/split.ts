import type { Dataset, TextRecord } from '../data/dataset.js';
import { BatchLoader } from '../data/loader.js';
import type { Reporter } from '../io/terminal.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { encodeImages, encodeTexts } from './encode.js';
import { normalize } from './ranking.js';
import { evaluateRetrieval, type Id, type RetrievalResult } from './retrieval.js';
import type { TimeSplit } from './timeSplit.js';

export interface SplitOptions {
  contextLength: number;
  batchSize: number;
  workers: number;
}

/** A split's images and texts with their features, normalised. */
export interface SplitFeatures {
  imageIds: Id[];
  /** float32 [images, dimension] */
  imageFeatures: Float32Array;
  texts: TextRecord[];
  /** float32 [texts, dimension] */
  textFeatures: Float32Array;
  dimension: number;
}

/** A split's features, and what retrieval over its full pool reaches. */
export type SplitEvaluation = SplitFeatures & RetrievalResult;

/**
 * Features of all images and texts of a split.
 *
 * @throws UserError for a broken image or text
 */
export async function encodeSplit(
  model: DualEncoder,
  dataset: Dataset,
  tokenizer: Tokenizer,
  { contextLength, batchSize, workers }: SplitOptions,
  reporter: Reporter,
  time?: TimeSplit,
): Promise<SplitFeatures> {
  const { image_resolution: resolution, embed_dim: dimension } = model.config;
  const loader = new BatchLoader({
    dataset,
    tokenizer,
    resolution,
    contextLength,
    batchSize,
    seed: 0,
    shuffle: false,
    workers,
    readAhead: 4,
    augment: false,
    pixels: true,
  });
  try {
    const imageFeatures = normalize(await encodeImages(model, loader, reporter, time), dimension);
    const { texts, features, cut } = await encodeTexts(
      model,
      dataset,
      tokenizer,
      contextLength,
      batchSize,
      reporter,
      time,
    );
    if (cut > 0) reporter.line(`${cut} of ${texts.length} texts were cut to ${contextLength} tokens`);
    const textFeatures = normalize(features, dimension);
    const imageIds = Array.from({ length: dataset.imageCount }, (_, row) => dataset.imageId(row));
    return { imageIds, imageFeatures, texts, textFeatures, dimension };
  } finally {
    await loader.close();
  }
}

/**
 * Retrieval in both directions over all images and texts of a split.
 *
 * @throws UserError for a broken image or text, or a split without annotation
 */
export async function evaluateSplit(
  model: DualEncoder,
  dataset: Dataset,
  tokenizer: Tokenizer,
  options: SplitOptions,
  reporter: Reporter,
): Promise<SplitEvaluation> {
  const features = await encodeSplit(model, dataset, tokenizer, options, reporter);
  return { ...features, ...(await evaluateRetrieval(features)) };
}
