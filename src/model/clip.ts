import type { Scalar, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { scaledMatMul } from '../nn/fused.js';
import { l2Normalize } from '../nn/layers.js';

/** The loss of a batch and, for the log, which text each image is nearest to and the reverse. */
export interface ContrastiveOutput {
  /** float32 scalar: mean of the two cross entropies */
  loss: Tensor;
  /** int32 [batch] */
  nearestText: Tensor;
  /** int32 [batch] */
  nearestImage: Tensor;
}

/**
 * CLIP's symmetric contrastive loss over features [batch, embed], not normalised, of matching rows: with
 * logits = exp(logitScale) · image · textᵀ on unit vectors, the mean of the cross entropies along both axes.
 *
 * @param count float32 scalar, the batch size. It is fed, since the recording knows it only as a symbol.
 */
export function contrastiveLoss(
  imageFeatures: Tensor2D,
  textFeatures: Tensor2D,
  logitScale: Tensor,
  count: Tensor,
): ContrastiveOutput {
  const image = tf.mul(l2Normalize(imageFeatures), tf.exp(logitScale)) as Tensor2D;
  const text = l2Normalize(textFeatures);
  const logits = scaledMatMul(image, text, 1, false, true) as Tensor2D;
  // Cross entropy is logSumExp minus the true logit; the true ones, the diagonal, are row-wise inner products.
  const matching = tf.sum(tf.mul(image, text));
  const rows = tf.sum(logSumExp(logits, 1));
  const columns = tf.sum(logSumExp(logits, 0));
  const total = tf.sub(tf.mul(tf.add(rows, columns), 0.5), matching);
  return {
    loss: tf.div(total, count as Scalar),
    nearestText: tf.argMax(logits, 1),
    nearestImage: tf.argMax(logits, 0),
  };
}

/** log Σ exp along an axis, kept with length 1. Its gradient is the softmax. */
function logSumExp(x: Tensor2D, axis: 0 | 1): Tensor {
  return tf.customGrad((input, save) => {
    const x = input as Tensor;
    const largest = tf.max(x, axis, true);
    const exponentials = tf.exp(tf.sub(x, largest));
    const sum = tf.sum(exponentials, axis, true);
    (save as tf.GradSaveFunc)([exponentials, sum]);
    return {
      value: tf.add(tf.log(sum), largest),
      gradFunc: (dy: Tensor, [exponentials, sum]: Tensor[]) => tf.mul(exponentials, tf.div(dy, sum)),
    };
  })(x);
}
