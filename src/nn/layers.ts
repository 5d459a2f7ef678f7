import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { layerNorm, linear } from './fused.js';
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

/** The weights of a fully connected layer: weight [out, in], bias [out], and the weight's adapter if it has one. */
export interface LinearWeights {
  weight: Tensor2D;
  bias: Tensor1D;
  adapter?: Adapter;
}

/** The fully connected layer `name.weight`, `name.bias`. */
export function linearWeights(weights: Weights, name: string): LinearWeights {
  const [weight, bias] = [weights[`${name}.weight`] as Tensor2D, weights[`${name}.bias`] as Tensor1D];
  return { weight, bias, adapter: adapterOf(weights, `${name}.weight`) };
}

/** A fully connected layer on x [rows, in], with its weight's adapter (LoRA, Hu et al., 2022). */
export function project({ weight, bias, adapter }: LinearWeights, x: Tensor): Tensor2D {
  const y = linear(x as Tensor2D, weight, bias);
  if (adapter === undefined) return y;
  const narrow = tf.matMul(x as Tensor2D, adapter.a, false, true);
  return tf.add(y, tf.mul(tf.matMul(narrow, adapter.b, false, true), adapter.scale));
}

/** The fully connected layer of a name on x [rows, in]. */
export function linearLayer(weights: Weights, name: string, x: Tensor): Tensor2D {
  return project(linearWeights(weights, name), x);
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
