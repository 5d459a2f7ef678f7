import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { scaledMatMul } from './fused.js';
import './gradients.js';
import type { LinearWeights } from './layers.js';

/** What attention may do to its scores and probabilities. */
export interface AttentionOptions {
  /** added to the scores [batch, heads, queries, tokens], broadcast over them (a mask) */
  bias?: Tensor;
  /** factors for the probabilities: 0, or 1 / (1 − rate) */
  dropout?: Tensor;
}

/** Rows of one query, key or value [batch·tokens, heads·headWidth] → [batch, heads, tokens, headWidth]. */
export function splitHeads(x: Tensor, tokens: number, heads: number): Tensor {
  return separated(x, x.shape[0] / tokens, tokens, heads);
}

function separated(x: Tensor, batch: number, tokens: number, heads: number): Tensor {
  return tf.transpose(tf.reshape(x, [batch, tokens, heads, x.shape[1]! / heads]), [0, 2, 1, 3]);
}

/** The reverse: [batch, heads, tokens, headWidth] → [batch·tokens, heads·headWidth]. */
function joinHeads(x: Tensor): Tensor2D {
  const [batch, heads, tokens, headWidth] = x.shape;
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch * tokens, heads * headWidth]);
}

/**
 * Scaled dot-product attention over q [batch, heads, queries, headWidth] and k, v [batch, heads, tokens, headWidth],
 * heads joined again: [batch·queries, heads·headWidth].
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor2D {
  const scores = scaledMatMul(q, k, 1 / Math.sqrt(q.shape[3]!), false, true);
  return joinHeads(tf.matMul(probabilitiesOf(scores, options), v));
}

function probabilitiesOf(scores: Tensor, { bias, dropout }: AttentionOptions): Tensor {
  const probabilities = tf.softmax(bias === undefined ? scores : tf.add(scores, bias));
  return dropout === undefined ? probabilities : tf.mul(probabilities, dropout);
}

/**
 * The same for one query of each sequence, from the tokens x [batch·tokens, in] themselves: query [batch, width] →
 * [batch, width]. No key or value is computed. For the keys K = x·Wᵀ + b a query's scores q·Kᵀ are (q·W)·xᵀ + q·b, and
 * what the probabilities P take from the values is (P·x)·Wᵀ + (Σ P)·b: two products for each head instead of two for
 * each token.
 */
export function singleQueryAttention(
  query: Tensor2D,
  x: Tensor2D,
  layers: { key: LinearWeights; value: LinearWeights },
  { tokens, heads, ...options }: AttentionOptions & { tokens: number; heads: number },
): Tensor2D {
  const [batch, width] = query.shape;
  const [headWidth, inputs] = [width / heads, x.shape[1]];
  const sequences = tf.reshape(x, [batch, tokens, inputs]);
  const scaled = tf.mul<Tensor2D>(query, 1 / Math.sqrt(headWidth));
  // The queries of all sequences are as the tokens of one: each head multiplies them by its part of a weight at once.
  const headsOf = (rows: Tensor) => separated(rows, 1, batch, heads);
  const biasOf = ({ bias }: LinearWeights) => tf.reshape(bias, [heads, headWidth]);

  const asked = joinHeads(tf.matMul(headsOf(scaled), weightOfHeads(layers.key, heads)));
  const alike = tf.sum(tf.mul(tf.reshape(scaled, [batch, heads, headWidth]), biasOf(layers.key)), 2, true);
  const products = tf.matMul(tf.reshape(asked, [batch, heads, inputs]), sequences, false, true);
  const scores = tf.reshape(tf.add(products, alike), [batch, heads, 1, tokens]);
  const probabilities = tf.reshape(probabilitiesOf(scores, options), [batch, heads, tokens]);

  const pooled = tf.reshape(tf.matMul(probabilities, sequences), [batch, heads * inputs]);
  const context = joinHeads(tf.matMul(headsOf(pooled), weightOfHeads(layers.value, heads), false, true));
  const shares = tf.mul(tf.sum(probabilities, 2, true), biasOf(layers.value));
  return tf.add(context, tf.reshape(shares, [batch, width]));
}

/** A weight [heads·headWidth, in], adapter added, as [1, heads, headWidth, in]. */
function weightOfHeads({ weight, adapter }: LinearWeights, heads: number): Tensor {
  const [width, inputs] = weight.shape;
  const whole =
    adapter === undefined ? weight : tf.add(weight, tf.mul(tf.matMul(adapter.b, adapter.a), adapter.scale));
  return tf.reshape(whole, [1, heads, width / heads, inputs]);
}
