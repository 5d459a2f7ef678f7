import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { singleQueryAttention } from '../nn/attention.js';
import { type BatchNormOutput, batchNorm } from '../nn/batchNorm.js';
import { callBlock, type RunBlock } from '../nn/blocks.js';
import { averagePool, convolution } from '../nn/convolution.js';
import { firstTokens, linearLayer, linearWeights, project, type Weights } from '../nn/layers.js';
import type { ResNetConfig } from './config.js';
import type { ImageTraining } from './image.js';

const EPSILON = 1e-5;
/** How much of a batch's statistics enters the running ones. */
const MOMENTUM = 0.1;

/** A convolution of the given name and the batch norm after it. */
type NormalizedConvolution = (
  weights: Weights,
  x: Tensor4D,
  convolution: string,
  batchNorm: string,
  stride?: number,
) => Tensor4D;

/**
 * CLIP's modified ResNet (Radford et al., 2021) in evaluation: pixels [batch, 3, resolution, resolution] → features
 * [batch, embed_dim], not normalised. Three convolutions as the stem; average pooling where a stride would be; attention
 * pooling at the end. Batch norms use their running statistics, which is a scale and a shift: they go into the convolution
 * before.
 */
export function encodeResNet(config: ResNetConfig, weights: Weights, pixels: Tensor): Tensor2D {
  return tower(config, weights, pixels as Tensor4D, foldedNorm);
}

/** A batch norm with running statistics, as part of the convolution before it. */
const foldedNorm: NormalizedConvolution = (weights, x, name, norm, stride) => {
  const of = (part: string) => weights[`${norm}.${part}`];
  const scale = tf.div(of('weight'), tf.sqrt(tf.add(of('running_var'), EPSILON)));
  const bias: Tensor1D = tf.sub(of('bias'), tf.mul(of('running_mean'), scale));
  const weight: Tensor4D = tf.mul(weights[`${name}.weight`], tf.reshape(scale, [-1, 1, 1, 1]));
  return convolution(x, weight, { stride, padding: samePadding(weight), bias });
};

/**
 * The same in training: batch norms use the statistics of the batch, but for frozen ones.
 *
 * @returns the features, and by name what the running statistics become with this batch
 */
export function encodeResNetInTraining(
  config: ResNetConfig,
  weights: Weights,
  pixels: Tensor,
  { count, runBlock, isFrozenNorm }: ImageTraining,
): { features: Tensor2D; buffers: Record<string, Tensor> } {
  const buffers: Record<string, Tensor> = {};
  const layer: NormalizedConvolution = (weights, x, name, norm, stride) => {
    if (isFrozenNorm(norm)) return foldedNorm(weights, x, name, norm, stride);
    const of = (part: string) => weights[`${norm}.${part}`] as Tensor1D;
    const weight = weights[`${name}.weight`] as Tensor4D;
    const convolved = convolution(x, weight, { stride, padding: samePadding(weight) });
    const output = batchNorm(convolved, of('weight'), of('bias'), EPSILON);
    // A block that is run once more for its gradient updates nothing.
    if (!(`${norm}.running_mean` in buffers)) {
      for (const [buffer, value] of Object.entries(updatedStatistics(weights, norm, output, count))) {
        buffers[buffer] = tf.keep(value);
      }
    }
    return output.value;
  };
  return { features: tower(config, weights, pixels as Tensor4D, layer, runBlock), buffers };
}

/**
 * The running statistics of a batch norm after a batch, as in PyTorch: the running variance is of the unbiased kind,
 * the count of values over their count less one larger than what normalises the batch.
 */
function updatedStatistics(
  weights: Weights,
  norm: string,
  { value, mean, variance }: BatchNormOutput,
  count: Tensor,
): Record<string, Tensor> {
  const values = tf.mul(count, value.shape[2] * value.shape[3]);
  const unbiased = tf.mul(variance, tf.div(values, tf.sub(values, 1)));
  const blend = (name: string, batch: Tensor) =>
    tf.add(tf.mul(weights[name], 1 - MOMENTUM), tf.mul(tf.reshape(batch, [-1]), MOMENTUM));
  return {
    [`${norm}.running_mean`]: blend(`${norm}.running_mean`, mean),
    [`${norm}.running_var`]: blend(`${norm}.running_var`, unbiased),
    [`${norm}.num_batches_tracked`]: tf.add(weights[`${norm}.num_batches_tracked`], 1),
  };
}

function tower(
  config: ResNetConfig,
  weights: Weights,
  pixels: Tensor4D,
  layer: NormalizedConvolution,
  runBlock: RunBlock = callBlock,
): Tensor2D {
  let x = pixels;
  for (const i of [1, 2, 3]) {
    x = tf.relu(layer(weights, x, `visual.conv${i}`, `visual.bn${i}`, i === 1 ? 2 : 1));
  }
  x = averagePool(x, 2);
  for (const [stage, blocks] of config.vision_layers.entries()) {
    for (let i = 0; i < blocks; i++) {
      const block = `visual.layer${stage + 1}.${i}`;
      x = runBlock<Tensor4D>(
        (weights, x) => bottleneck(layer, weights, block, x, i === 0, stage > 0 && i === 0),
        `${block}.`,
        weights,
        x,
      );
    }
  }
  return attentionPool(config, weights, x);
}

/**
 * A residual block of three convolutions.
 *
 * @param widens the first block of a stage: what is added has to be widened, too
 * @param halves height and width become half
 */
function bottleneck(
  layer: NormalizedConvolution,
  weights: Weights,
  name: string,
  x: Tensor4D,
  widens: boolean,
  halves: boolean,
): Tensor4D {
  const pooled = (x: Tensor4D) => (halves ? averagePool(x, 2) : x);
  let y = tf.relu(layer(weights, x, `${name}.conv1`, `${name}.bn1`));
  y = tf.relu(layer(weights, y, `${name}.conv2`, `${name}.bn2`));
  y = layer(weights, pooled(y), `${name}.conv3`, `${name}.bn3`);
  const shortcut = widens ? layer(weights, pooled(x), `${name}.downsample.0`, `${name}.downsample.1`) : x;
  return tf.relu(tf.add<Tensor4D>(y, shortcut));
}

/**
 * Attention over the pixels of x [batch, channels, side, side] and their mean: what the mean alone asks for is the
 * feature, [batch, embed_dim].
 */
function attentionPool(config: ResNetConfig, weights: Weights, x: Tensor4D): Tensor2D {
  const [batch, channels, height, width] = x.shape;
  const [pixels, tokens] = [height * width, height * width + 1];
  const heads = channels / config.vision_head_width;
  const rows = tf.transpose(tf.reshape(x, [batch, channels, pixels]), [0, 2, 1]);
  const mean = tf.mul(tf.sum(rows, 1, true), 1 / pixels);
  const placed = tf.add(tf.concat([mean, rows], 1), weights['visual.attnpool.positional_embedding']);
  const all = tf.reshape(placed, [batch * tokens, channels]) as Tensor2D;
  const [query, key, value] = ['q', 'k', 'v'].map((part) =>
    linearWeights(weights, `visual.attnpool.${part}_proj`),
  );
  const asked = project(query, firstTokens(all, tokens));
  const context = singleQueryAttention(asked, all, { key, value }, { tokens, heads });
  return linearLayer(weights, 'visual.attnpool.c_proj', context);
}

/** Padding that keeps the size of an image, for kernels of odd side. */
function samePadding(weight: Tensor4D): number {
  return (weight.shape[2] - 1) / 2;
}
