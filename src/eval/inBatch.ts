import { epochOrder } from '../data/sampler.js';

export interface InBatchInput {
  /** float32 [images, dimension], normalised */
  imageFeatures: Float32Array;
  /** float32 [texts, dimension], normalised */
  textFeatures: Float32Array;
  dimension: number;
  /** image row and text row of each pair */
  pairImageRows: Int32Array;
  pairTextRows: Int32Array;
  batchSize: number;
  /** exp(logit_scale) */
  logitScale: number;
}

/** The reference's validation numbers: each text competes with those of its batch alone. */
export interface InBatchScores {
  /** mean over batches of the contrastive loss */
  loss: number;
  /** share of images whose nearest text of the batch is their own, from 0 to 1 */
  imageToTextAccuracy: number;
  textToImageAccuracy: number;
}

/**
 * Loss and accuracy inside batches, as the reference validates: the pairs in one order shuffled once, the last batch
 * filled up from the start. They depend on the batch size, and a batch that has a text or an image twice can't be right
 * for all: recall over the full pool says more.
 */
export function inBatchScores(input: InBatchInput): InBatchScores {
  const { pairImageRows, batchSize: n } = input;
  const order = epochOrder(pairImageRows.length, n, 0, 0, true);
  let [loss, imageHits, textHits] = [0, 0, 0];
  for (let start = 0; start < order.length; start += n) {
    const pairs = order.subarray(start, start + n);
    const logits = batchLogits(input, pairs);
    const row = (i: number) => logits.subarray(i * n, (i + 1) * n);
    const column = (j: number) => Float64Array.from({ length: n }, (_, i) => logits[i * n + j]);
    for (let i = 0; i < n; i++) {
      const [ofImage, ofText] = [row(i), column(i)];
      loss += (logSumExp(ofImage) + logSumExp(ofText)) / 2 - ofImage[i];
      if (argMax(ofImage) === i) imageHits++;
      if (argMax(ofText) === i) textHits++;
    }
  }
  const count = order.length;
  return {
    loss: loss / count,
    imageToTextAccuracy: imageHits / count,
    textToImageAccuracy: textHits / count,
  };
}

/** [n, n]: of each image, a row, with each text. */
function batchLogits(
  { imageFeatures, textFeatures, dimension, pairImageRows, pairTextRows, logitScale }: InBatchInput,
  pairs: Int32Array,
): Float64Array {
  const n = pairs.length;
  const logits = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const image = pairImageRows[pairs[i]] * dimension;
    for (let j = 0; j < n; j++) {
      const text = pairTextRows[pairs[j]] * dimension;
      let product = 0;
      for (let k = 0; k < dimension; k++) product += imageFeatures[image + k] * textFeatures[text + k];
      logits[i * n + j] = logitScale * product;
    }
  }
  return logits;
}

function logSumExp(values: Float64Array): number {
  const largest = values.reduce((a, b) => Math.max(a, b));
  return largest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}

function argMax(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
