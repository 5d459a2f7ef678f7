import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { layerNorm, linear, scaledMatMul } from './fused.js';
import './gradients.js';

/** A model's weights by their checkpoint names. */
export type Weights = Readonly<Record<string, Tensor>>;

/** A low-rank update of a weight [out, in], which stands for scale · b · a: a [rank, in], b [out, rank], scale []. */
export interface Adapter {
  a: Tensor2D;
  b: Tensor2D;
  scale: Tensor;
}

/** Names of an adapter's tensors among a model's weights. */
export const adapterNames = {
  a: (weight: string) => `${weight}.lora_A`,
  b: (weight: string) => `${weight}.lora_B`,
  scale: (weight: string) => `${weight}.lora_scale`,
};

/** The adapter of a weight, if it has one. */
export function adapterOf(weights: Weights, weight: string): Adapter | undefined {
  const [a, b, scale] = [adapterNames.a(weight), adapterNames.b(weight), adapterNames.scale(weight)].map(
    (name) => weights[name],
  );
  return a && { a: a as Tensor2D, b: b as Tensor2D, scale };
}

/** An adapter as the entries of weights that `adapterOf` finds. */
export function adapterEntries(weight: string, { a, b, scale }: Adapter): Weights {
  return { [adapterNames.a(weight)]: a, [adapterNames.b(weight)]: b, [adapterNames.scale(weight)]: scale };
}

/**
 * The fully connected layer `name.weight` [out, in], `name.bias` [out] on x [rows, in], with the weight's adapter if it
 * has one (LoRA, Hu et al., 2022).
 */
export function linearLayer(weights: Weights, name: string, x: Tensor): Tensor2D {
  const [weight, bias] = [weights[`${name}.weight`] as Tensor2D, weights[`${name}.bias`] as Tensor1D];
  const y = linear(x as Tensor2D, weight, bias);
  const adapter = adapterOf(weights, `${name}.weight`);
  if (adapter === undefined) return y;
  const narrow = tf.matMul(x as Tensor2D, adapter.a, false, true);
  return tf.add(y, tf.mul(tf.matMul(narrow, adapter.b, false, true), adapter.scale));
}

/** The layer norm `name.weight`, `name.bias` over the last axis. */
export function layerNormLayer<T extends Tensor>(weights: Weights, name: string, x: T, epsilon: number): T {
  const [weight, bias] = [weights[`${name}.weight`], weights[`${name}.bias`]] as Tensor1D[];
  return layerNorm(x, weight, bias, epsilon) as T;
}

/** Rows of `table` [rows, width] by number: ids of any shape → [...ids, width]. */
export function embedding(table: Tensor2D, ids: Tensor): Tensor {
  const [rows, width] = table.shape;
  const flat = tf.reshape(ids, [-1]);
  return tf.customGrad((table) => ({
    value: tf.gather(table as Tensor2D, ids),
    gradFunc: (dy: Tensor) => tf.unsortedSegmentSum(tf.reshape(dy, [-1, width]), flat as Tensor1D, rows),
  }))(table);
}

/** Rows of one query, key or value [batch·tokens, heads·headWidth] → [batch, heads, tokens, headWidth]. */
export function splitHeads(x: Tensor, tokens: number, heads: number): Tensor {
  const [rows, width] = x.shape;
  return tf.transpose(tf.reshape(x, [rows / tokens, tokens, heads, width / heads]), [0, 2, 1, 3]);
}

/**
 * Scaled dot-product attention over q [batch, heads, queries, headWidth] and k, v [batch, heads, tokens, headWidth],
 * heads joined again: [batch·queries, heads·headWidth].
 *
 * @param bias added to the scores, broadcast over them (a mask)
 * @param dropout factors for the probabilities: 0, or 1 / (1 − rate)
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, bias?: Tensor, dropout?: Tensor): Tensor2D {
  const [batch, heads, queries, headWidth] = q.shape;
  let scores = scaledMatMul(q, k, 1 / Math.sqrt(headWidth), false, true);
  if (bias !== undefined) scores = tf.add(scores, bias);
  let probabilities = tf.softmax(scores);
  if (dropout !== undefined) probabilities = tf.mul(probabilities, dropout);
  const context = tf.transpose(tf.matMul(probabilities, v), [0, 2, 1, 3]);
  return tf.reshape(context, [batch * queries, heads * headWidth]);
}

/** The first token of each sequence: x [batch·tokens, width] → [batch, width]. */
export function firstTokens(x: Tensor2D, tokens: number): Tensor2D {
  const [rows, width] = x.shape;
  const batch = rows / tokens;
  return tf.reshape(tf.slice(tf.reshape(x, [batch, tokens, width]), [0, 0, 0], [batch, 1, width]), [
    batch,
    width,
  ]);
}

/** Scales the rows of x [rows, width] to length 1. */
export function l2Normalize(x: Tensor2D): Tensor2D {
  return tf.div(x, tf.sqrt(tf.sum(tf.square(x), 1, true)));
}
