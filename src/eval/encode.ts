import type { Dataset, TextRecord } from '../data/dataset.js';
import type { BatchLoader } from '../data/loader.js';
import type { Reporter } from '../io/terminal.js';
import type { Model } from '../model/model.js';
import { prepareText, type Tokenizer } from '../text/tokenizer.js';

/**
 * Features of every image of a split, once each, in row order: Float32Array [images, embed_dim], not normalised.
 */
export async function encodeImages(
  model: Model,
  loader: BatchLoader,
  reporter: Reporter,
): Promise<Float32Array> {
  const width = model.config.embed_dim;
  const features = new Float32Array(loader.dataset.imageCount * width);
  reporter.begin('image features', loader.dataset.imageCount);
  let done = 0;
  for await (const { pixels, n } of loader.images()) {
    features.set(await model.encodeImages(pixels, n), done * width);
    done += n;
    reporter.advance(done);
  }
  reporter.end();
  return features;
}

/** Texts of a split with their features, [texts, embed_dim], not normalised, in the file's order. */
export async function encodeTexts(
  model: Model,
  dataset: Dataset,
  tokenizer: Tokenizer,
  contextLength: number,
  batchSize: number,
  reporter: Reporter,
): Promise<{ texts: TextRecord[]; features: Float32Array; cut: number }> {
  const width = model.config.embed_dim;
  const texts = [...dataset.texts()];
  const features = new Float32Array(texts.length * width);
  let cutTexts = 0;
  reporter.begin('text features', texts.length);
  for (let begin = 0; begin < texts.length; begin += batchSize) {
    const captions = texts.slice(begin, begin + batchSize).map(({ text }) => prepareText(text));
    const { ids, n, length, cut } = tokenizer.encodeBatch(captions, contextLength);
    features.set(await model.encodeTexts(ids, n, length), begin * width);
    cutTexts += cut;
    reporter.advance(begin + n);
  }
  reporter.end();
  return { texts, features, cut: cutTexts };
}
