import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { attention, singleQueryAttention, splitHeads } from '../nn/attention.js';
import { callBlock, type RunBlock } from '../nn/blocks.js';
import { gelu } from '../nn/fused.js';
import {
  embedding,
  firstTokens,
  type LinearWeights,
  layerNormLayer,
  linearLayer,
  linearWeights,
  project,
  type Weights,
} from '../nn/layers.js';
import type { ModelConfig } from './config.js';

const EPSILON = 1e-12;
const PADDING_ID = 0;
/** What the reference adds to the scores of padding; its exponential is zero in float32. */
const MASKED_SCORE = -10000;

/** A place where training drops values: factors of this shape (0, or 1 / (1 − rate)) are fed under this name. */
export interface DropoutSite {
  name: string;
  rate: number;
  shape: (number | string)[];
}

/**
 * The dropout sites of the text tower for ids [batch, length]. The last layer computes [CLS] alone.
 *
 * @param dropout false for none, true for the rates of the config, or one rate for all sites
 */
export function textDropoutSites(
  config: ModelConfig,
  batch: string,
  length: string,
  dropout: boolean | number,
): DropoutSite[] {
  const rate = (configured: number) => (typeof dropout === 'number' ? dropout : dropout ? configured : 0);
  const hiddenRate = rate(config.text_hidden_dropout_prob);
  const attentionRate = rate(config.text_attention_probs_dropout_prob);
  const width = config.text_hidden_size;
  const layers = config.text_num_hidden_layers;
  const sites: DropoutSite[] = [
    { name: 'dropout.embeddings', rate: hiddenRate, shape: [batch, length, width] },
  ];
  for (let i = 0; i < layers; i++) {
    const queries = i === layers - 1 ? 1 : length;
    const heads = config.text_num_attention_heads;
    sites.push({
      name: `dropout.${i}.probabilities`,
      rate: attentionRate,
      shape: [batch, heads, queries, length],
    });
    for (const output of ['attention', 'output']) {
      sites.push({ name: `dropout.${i}.${output}`, rate: hiddenRate, shape: [batch, queries, width] });
    }
  }
  return sites.filter(({ rate }) => rate > 0);
}

export interface TextOptions {
  /** factors by site name (see `textDropoutSites`); a site without factors drops nothing */
  dropout?: Weights;
  runBlock?: RunBlock;
  /** float32 [batch, length], 1 where a token counts and 0 where it doesn't; by default all but padding count */
  attended?: Tensor;
}

/**
 * The BERT text tower: ids [batch, length] (0 is padding) → features [batch, embed_dim], not normalised: the last
 * hidden state of [CLS] times text_projection.
 */
export function encodeText(
  config: ModelConfig,
  weights: Weights,
  ids: Tensor,
  { dropout = {}, runBlock = callBlock, attended = notPadding(ids) }: TextOptions = {},
): Tensor2D {
  const [batch, length] = ids.shape;
  const layers = config.text_num_hidden_layers;
  const mask = tf.reshape(tf.mul(tf.sub(1, attended), MASKED_SCORE), [batch, 1, 1, length]);
  let x = drop(embed(config, weights, ids), dropout['dropout.embeddings']);
  for (let i = 0; i < layers; i++) {
    x = runBlock<Tensor2D>(
      (weights, x, mask) => layer(config, weights, i, x, length, mask, dropout, i === layers - 1),
      `bert.encoder.layer.${i}.`,
      weights,
      x,
      mask,
    );
  }
  return tf.matMul(x, weights.text_projection as Tensor2D);
}

function notPadding(ids: Tensor): Tensor {
  return tf.cast(tf.notEqual(ids, tf.scalar(PADDING_ID, 'int32')), 'float32');
}

/** Word, position and type embeddings, normalised: [batch·length, hidden]. */
function embed(config: ModelConfig, weights: Weights, ids: Tensor): Tensor2D {
  const [batch, length] = ids.shape;
  const width = config.text_hidden_size;
  const table = (name: string) => weights[`bert.embeddings.${name}_embeddings.weight`] as Tensor2D;
  const words = embedding(table('word'), ids);
  const positions = tf.slice(table('position'), [0, 0], [length, width]);
  const type = tf.slice(table('token_type'), [0, 0], [1, width]);
  const sum = tf.add(words, tf.add(positions, type));
  const normal = layerNormLayer(weights, 'bert.embeddings.LayerNorm', sum, EPSILON);
  return tf.reshape(normal, [batch * length, width]);
}

/** One post-norm layer on x [batch·length, hidden]; the last one returns [CLS] alone, [batch, hidden]. */
function layer(
  config: ModelConfig,
  weights: Weights,
  index: number,
  x: Tensor2D,
  length: number,
  mask: Tensor,
  dropout: Weights,
  classTokenOnly: boolean,
): Tensor2D {
  const name = `bert.encoder.layer.${index}`;
  const heads = config.text_num_attention_heads;
  const [query, key, value] = ['query', 'key', 'value'].map((part) =>
    linearWeights(weights, `${name}.attention.self.${part}`),
  );
  const dense = (part: string, rows: Tensor, residual: Tensor2D, site: string): Tensor2D => {
    const update = drop(
      linearLayer(weights, `${name}.${part}.dense`, rows),
      dropout[`dropout.${index}.${site}`],
    );
    return layerNormLayer(weights, `${name}.${part}.LayerNorm`, tf.add<Tensor2D>(update, residual), EPSILON);
  };

  const queried = classTokenOnly ? firstTokens(x, length) : x;
  const options = { bias: mask, dropout: dropout[`dropout.${index}.probabilities`] };
  const headsOf = (part: LinearWeights) => splitHeads(project(part, x), length, heads);
  const context = classTokenOnly
    ? singleQueryAttention(project(query, queried), x, { key, value }, { ...options, tokens: length, heads })
    : attention(headsOf(query), headsOf(key), headsOf(value), options);
  const attended = dense('attention.output', context, queried, 'attention');
  const intermediate = gelu(linearLayer(weights, `${name}.intermediate.dense`, attended));
  return dense('output', intermediate, attended, 'output');
}

function drop(x: Tensor2D, factors: Tensor | undefined): Tensor2D {
  return factors === undefined ? x : tf.mul(x, tf.reshape(factors, x.shape));
}
