import type { Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';

/** A batch norm's output and what it was normalised with: [1, channels, 1, 1], the variance divided by the count. */
export interface BatchNormOutput {
  value: Tensor4D;
  mean: Tensor;
  variance: Tensor;
}

/**
 * Batch normalisation (Ioffe & Szegedy, 2015) as in training: every channel of x [batch, channels, height, width] gets
 * mean 0 and variance 1 over batch and pixels, then is scaled and shifted by weight and bias [channels].
 *
 * No gradient flows into `mean` and `variance` as results; that of `value` allows for both.
 */
export function batchNorm(x: Tensor4D, weight: Tensor1D, bias: Tensor1D, epsilon: number): BatchNormOutput {
  const mean = channelMean(x);
  const centred = tf.sub(x, mean);
  const variance = channelMean(tf.square(centred));
  const inverse = tf.div(tf.onesLike(variance), tf.sqrt(tf.add(variance, epsilon)));
  const value = tf.customGrad((_, weight, bias, save) => {
    const scale = tf.mul(perChannel(weight as Tensor), inverse);
    // Centred, not x: products with it don't cancel where a channel's mean is large.
    (save as tf.GradSaveFunc)([centred, inverse, scale]);
    return {
      value: tf.add(tf.mul(centred, scale), perChannel(bias as Tensor)),
      gradFunc: (dy: Tensor, [centred, inverse, scale]: Tensor[]) => {
        const sums = pixelSums(dy);
        const products = pixelSums(tf.mul(dy, centred));
        const slope = tf.mul(tf.mul(tf.square(inverse), scale), batchMean(products, x));
        const shift = tf.mul(scale, batchMean(sums, x));
        const dx = tf.sub(tf.sub(tf.mul(dy, scale), shift), tf.mul(centred, slope));
        const total = (parts: Tensor) => tf.reshape(tf.sum(parts, 0), [-1]);
        return [dx, total(tf.mul(products, inverse)), total(sums)];
      },
    };
  })(x, weight, bias) as Tensor4D;
  return { value, mean, variance };
}

/** [channels] as it is broadcast over [batch, channels, height, width]. */
function perChannel(x: Tensor): Tensor {
  return tf.reshape(x, [1, -1, 1, 1]);
}

/** First over the pixels, then over the batch: ONNX Runtime is fastest along the last axes. */
function channelMean(x: Tensor): Tensor {
  return tf.mean(tf.mean(x, [2, 3], true), 0, true);
}

function pixelSums(x: Tensor): Tensor {
  return tf.sum(x, [2, 3], true);
}

/** The mean over batch and pixels of x from the sums of its pixels. */
function batchMean(sums: Tensor, x: Tensor4D): Tensor {
  return tf.mul(tf.mean(sums, 0, true), 1 / (x.shape[2] * x.shape[3]));
}
