import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.js';
import type { Reporter } from '../../io/terminal.js';
import type { DualEncoder } from '../../model/dualEncoder.js';
import { digest } from '../../model/fingerprint.js';
import { prepareText, type Tokenizer } from '../../text/tokenizer.js';
import { normalize } from '../ranking.js';
import { fillPrompts } from './prompts.js';

/** What the embedding of a text depends on, beside the text itself. */
export interface TextEncoder {
  model: DualEncoder;
  tokenizer: Tokenizer;
  contextLength: number;
  batchSize: number;
  /** SHA-256 of weights, config, vocabulary and context length */
  fingerprint: string;
}

/**
 * Class embeddings: the normalised mean of the normalised embeddings of a class's prompts, as in the reference.
 * Float32Array [classes, embed_dim]. They are kept in a file of the folder `cache` under the hash of all that they
 * depend on, and read from it the next time.
 *
 * @throws UserError where an embedding is not finite or all zero
 */
export async function embedClasses(
  encoder: TextEncoder,
  classNames: readonly string[],
  prompts: readonly string[],
  cache: string,
  reporter: Reporter,
): Promise<Float32Array> {
  const path = join(
    cache,
    `classes-${digest([encoder.fingerprint, classNames, prompts]).slice(0, 32)}.safetensors`,
  );
  if (existsSync(path)) {
    const cached = readSafetensors(path).get('classes');
    if (cached?.data instanceof Float32Array) return cached.data;
  }
  const width = encoder.model.config.embed_dim;
  const sums = new Float32Array(classNames.length * width);
  let row = 0;
  reporter.begin('prompts', classNames.length * prompts.length);
  for await (const features of encodePrompts(encoder, classNames, prompts)) {
    const unit = normalize(features, width);
    for (let i = 0; i < unit.length; i += width, row++) {
      const start = Math.floor(row / prompts.length) * width;
      for (let k = 0; k < width; k++) sums[start + k] += unit[i + k] / prompts.length;
    }
    reporter.advance(row);
  }
  reporter.end();
  const classes = normalize(sums, width);
  mkdirSync(cache, { recursive: true });
  writeSafetensors(path, new Map([['classes', { shape: [classNames.length, width], data: classes }]]));
  return classes;
}

/** Embeddings of every class's prompts, class by class, in batches: [n, embed_dim], not normalised. */
async function* encodePrompts(
  { model, tokenizer, contextLength, batchSize }: TextEncoder,
  classNames: readonly string[],
  prompts: readonly string[],
): AsyncGenerator<Float32Array> {
  let batch: string[] = [];
  const encode = () => {
    const { ids, n, length } = tokenizer.encodeBatch(batch, contextLength);
    batch = [];
    return model.encodeTexts(ids, n, length);
  };
  for (const name of classNames) {
    for (const text of fillPrompts(prompts, name)) {
      batch.push(prepareText(text));
      if (batch.length === batchSize) yield await encode();
    }
  }
  if (batch.length > 0) yield await encode();
}

/** The reference multiplies cosines by this, whatever logit_scale the model learnt. */
const SCALE = 100;

/**
 * Probabilities of the classes, softmax(100 · image · class): Float32Array [images, classes].
 *
 * @param images normalised features [images, dimension]
 * @param classes normalised embeddings [classes, dimension]
 */
export function classProbabilities(
  images: Float32Array,
  classes: Float32Array,
  dimension: number,
): Float32Array {
  const classCount = classes.length / dimension;
  const imageCount = images.length / dimension;
  const probabilities = new Float32Array(imageCount * classCount);
  const logits = new Float64Array(classCount);
  for (let image = 0; image < imageCount; image++) {
    for (let c = 0; c < classCount; c++) {
      let cosine = 0;
      for (let k = 0; k < dimension; k++)
        cosine += images[image * dimension + k] * classes[c * dimension + k];
      logits[c] = SCALE * cosine;
    }
    let largest = -Infinity;
    for (const logit of logits) largest = Math.max(largest, logit);
    let sum = 0;
    for (let c = 0; c < classCount; c++) {
      logits[c] = Math.exp(logits[c] - largest);
      sum += logits[c];
    }
    for (let c = 0; c < classCount; c++) probabilities[image * classCount + c] = logits[c] / sum;
  }
  return probabilities;
}
