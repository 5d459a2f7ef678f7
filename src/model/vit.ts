import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { attention, singleQueryAttention, splitHeads } from '../nn/attention.js';
import { callBlock, type RunBlock } from '../nn/blocks.js';
import { expand, quickGelu } from '../nn/fused.js';
import {
  adapterOf,
  embedding,
  firstTokens,
  type LinearWeights,
  layerNormLayer,
  linearLayer,
  project,
  type Weights,
} from '../nn/layers.js';
import type { ViTConfig } from './config.js';

const EPSILON = 1e-5;

/**
 * The ViT image tower: pixels [batch, 3, resolution, resolution] → features [batch, embed_dim], not normalised.
 * Pre-norm blocks with quick-GELU; the class token through ln_post and proj is the feature.
 *
 * @param options.keptTokens int32 [batch, kept]: the patches that the blocks see beside the class token, as rows of
 *   [batch · tokens] (FLIP, Li et al., 2023); all by default
 */
export function encodeViT(
  config: ViTConfig,
  weights: Weights,
  pixels: Tensor,
  { keptTokens, runBlock = callBlock }: { keptTokens?: Tensor; runBlock?: RunBlock } = {},
): Tensor2D {
  const batch = pixels.shape[0];
  const { vision_patch_size: patch, vision_width: width, vision_head_width: headWidth } = config;
  const grid = config.image_resolution / patch;
  let tokens = grid * grid + 1;
  const layers = config.vision_layers;

  const patches = tf.reshape(patchRows(pixels as Tensor4D, patch, grid), [
    batch * grid * grid,
    3 * patch * patch,
  ]);
  const kernel = tf.reshape(weights['visual.conv1.weight'], [width, 3 * patch * patch]) as Tensor2D;
  const embedded = tf.reshape(tf.matMul(patches as Tensor2D, kernel, false, true), [
    batch,
    grid * grid,
    width,
  ]);
  const classToken = tf.reshape(weights['visual.class_embedding'], [1, 1, width]);
  let x: Tensor = tf.concat([expand(classToken, [batch, 1, width]), embedded], 1);
  x = tf.add(x, weights['visual.positional_embedding']);
  if (keptTokens !== undefined) {
    const kept = embedding(tf.reshape(x, [batch * tokens, width]), keptTokens);
    x = tf.concat([tf.slice(x, [0, 0, 0], [batch, 1, width]), kept], 1);
    tokens = keptTokens.shape[1]! + 1;
  }
  let rows = tf.reshape(layerNormLayer(weights, 'visual.ln_pre', x, EPSILON), [
    batch * tokens,
    width,
  ]) as Tensor2D;
  for (let i = 0; i < layers; i++) {
    const block = `visual.transformer.resblocks.${i}`;
    rows = runBlock<Tensor2D>(
      (weights, x) => residualBlock(weights, block, x, tokens, width / headWidth, i === layers - 1),
      `${block}.`,
      weights,
      rows,
    );
  }
  return tf.matMul(
    layerNormLayer(weights, 'visual.ln_post', rows, EPSILON),
    weights['visual.proj'] as Tensor2D,
  );
}

/** Cuts the image into the rows that a convolution with kernel and stride of one patch multiplies. */
function patchRows(pixels: Tensor4D, patch: number, grid: number): Tensor {
  const [batch] = pixels.shape;
  return tf.transpose(tf.reshape(pixels, [batch, 3, grid, patch, grid, patch]), [0, 2, 4, 1, 3, 5]);
}

/**
 * One block on x [batch·tokens, width]. The last block computes the class token alone, [batch, width]: it is all
 * that the feature depends on, and every other query and its MLP would be thrown away.
 */
function residualBlock(
  weights: Weights,
  name: string,
  x: Tensor2D,
  tokens: number,
  heads: number,
  classTokenOnly: boolean,
): Tensor2D {
  const normal = layerNormLayer(weights, `${name}.ln_1`, x, EPSILON);
  const context = attend(weights, `${name}.attn`, normal, tokens, heads, classTokenOnly);
  const attended = linearLayer(weights, `${name}.attn.out_proj`, context);
  const hidden: Tensor2D = tf.add(classTokenOnly ? firstTokens(x, tokens) : x, attended);
  const expanded = linearLayer(
    weights,
    `${name}.mlp.c_fc`,
    layerNormLayer(weights, `${name}.ln_2`, hidden, EPSILON),
  );
  return tf.add(hidden, linearLayer(weights, `${name}.mlp.c_proj`, quickGelu(expanded)));
}

/** Self-attention with the joint `in_proj_weight` [3·width, width], heads joined: [batch·tokens, width] or [batch, width]. */
function attend(
  weights: Weights,
  name: string,
  x: Tensor2D,
  tokens: number,
  heads: number,
  classTokenOnly: boolean,
): Tensor2D {
  const parts = (begin: number, count: number) => partsOf(weights, name, begin, count);
  if (classTokenOnly) {
    const layers = { key: parts(1, 1), value: parts(2, 1) };
    return singleQueryAttention(project(parts(0, 1), firstTokens(x, tokens)), x, layers, { tokens, heads });
  }
  const [query, key, value] = tf
    .split(project(parts(0, 3), x), 3, 1)
    .map((part) => splitHeads(part, tokens, heads));
  return attention(query, key, value);
}

/** Some of query, key and value (0, 1, 2) of the joint layer. */
function partsOf(weights: Weights, name: string, begin: number, count: number): LinearWeights {
  const weight = weights[`${name}.in_proj_weight`] as Tensor2D;
  const width = weight.shape[1];
  const adapter = adapterOf(weights, `${name}.in_proj_weight`);
  const rowsOf = (matrix: Tensor2D) => tf.slice(matrix, [begin * width, 0], [count * width, matrix.shape[1]]);
  return {
    weight: rowsOf(weight),
    bias: tf.slice(weights[`${name}.in_proj_bias`] as Tensor1D, [begin * width], [count * width]),
    adapter: adapter && { ...adapter, b: rowsOf(adapter.b) },
  };
}
