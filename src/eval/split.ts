import type { Dataset, TextRecord } from '../data/dataset.js';
import { BatchLoader } from '../data/loader.js';
import type { Reporter } from '../io/terminal.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { encodeImages, encodeTexts } from './encode.js';
import { normalize } from './ranking.js';
import { evaluateRetrieval, type Id } from './retrieval.js';

export interface SplitOptions {
  contextLength: number;
  batchSize: number;
  workers: number;
}

/** A split's features, normalised, and what retrieval over its full pool reaches. */
export interface SplitEvaluation extends Awaited<ReturnType<typeof evaluateRetrieval>> {
  imageIds: Id[];
  imageFeatures: Float32Array;
  texts: TextRecord[];
  textFeatures: Float32Array;
}

/**
 * Retrieval in both directions over all images and texts of a split.
 *
 * @throws UserError for a broken image or text, or a split without annotation
 */
export async function evaluateSplit(
  model: Model,
  dataset: Dataset,
  tokenizer: Tokenizer,
  { contextLength, batchSize, workers }: SplitOptions,
  reporter: Reporter,
): Promise<SplitEvaluation> {
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
    const imageFeatures = normalize(await encodeImages(model, loader, reporter), dimension);
    const { texts, features, cut } = await encodeTexts(
      model,
      dataset,
      tokenizer,
      contextLength,
      batchSize,
      reporter,
    );
    if (cut > 0) reporter.line(`${cut} of ${texts.length} texts were cut to ${contextLength} tokens`);
    const textFeatures = normalize(features, dimension);
    const imageIds = Array.from({ length: dataset.imageCount }, (_, row) => dataset.imageId(row));
    const result = await evaluateRetrieval({ imageIds, imageFeatures, texts, textFeatures, dimension });
    return { imageIds, imageFeatures, texts, textFeatures, ...result };
  } finally {
    await loader.close();
  }
}
