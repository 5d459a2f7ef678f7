import type { Dataset, TextRecord } from '../data/dataset.js';
import type { BatchLoader } from '../data/loader.js';
import type { Reporter } from '../io/terminal.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { prepareText, type Tokenizer } from '../text/tokenizer.js';
import { TimeSplit } from './timeSplit.js';

/** Batches of texts that are sorted by length together. */
export const SORTED_BATCHES = 64;

/**
 * Features of every image of a split, once each, in row order: Float32Array [images, embed_dim], not normalised.
 */
export async function encodeImages(
  model: DualEncoder,
  loader: BatchLoader,
  reporter: Reporter,
  time = new TimeSplit(),
): Promise<Float32Array> {
  const width = model.config.embed_dim;
  const features = new Float32Array(loader.dataset.imageCount * width);
  reporter.begin('image features', loader.dataset.imageCount);
  let done = 0;
  for await (const { pixels, n, waitSeconds } of loader.images()) {
    time.add('waiting for pictures', waitSeconds);
    features.set(await time.measure('towers', () => model.encodeImages(pixels, n)), done * width);
    done += n;
    reporter.advance(done);
  }
  reporter.end();
  return features;
}

/**
 * Texts of a split with their features, [texts, embed_dim], not normalised, in the file's order. Texts of like length
 * are encoded together, so that little padding is computed.
 *
 * @returns also how many texts were cut to contextLength tokens
 */
export async function encodeTexts(
  model: DualEncoder,
  dataset: Dataset,
  tokenizer: Tokenizer,
  contextLength: number,
  batchSize: number,
  reporter: Reporter,
  time = new TimeSplit(),
): Promise<{ texts: TextRecord[]; features: Float32Array; cut: number }> {
  const width = model.config.embed_dim;
  const texts = [...dataset.texts()];
  const features = new Float32Array(texts.length * width);
  let cutTexts = 0;
  reporter.begin('text features', texts.length);
  for (let first = 0; first < texts.length; first += SORTED_BATCHES * batchSize) {
    const captions = texts.slice(first, first + SORTED_BATCHES * batchSize).map(({ text }) => text);
    const found = await encodeCaptions(model, tokenizer, captions, contextLength, batchSize, time, (count) =>
      reporter.advance(first + count),
    );
    features.set(found.features, first * width);
    cutTexts += found.cut;
  }
  reporter.end();
  return { texts, features, cut: cutTexts };
}

/**
 * Features of captions, [captions, embed_dim], not normalised, in their order; the work is done in the order of their
 * lengths.
 *
 * @param advance told how many are done
 * @returns also how many were cut to contextLength tokens
 */
export async function encodeCaptions(
  model: DualEncoder,
  tokenizer: Tokenizer,
  captions: readonly string[],
  contextLength: number,
  batchSize: number,
  time: TimeSplit,
  advance: (done: number) => void,
): Promise<{ features: Float32Array; cut: number }> {
  const width = model.config.embed_dim;
  const features = new Float32Array(captions.length * width);
  const encoded = await time.measure('tokens', () =>
    captions
      .map((text, row) => ({ row, ...tokenizer.encodeBatch([prepareText(text)], contextLength) }))
      .sort((a, b) => a.length - b.length),
  );
  for (let begin = 0; begin < encoded.length; begin += batchSize) {
    const batch = encoded.slice(begin, begin + batchSize);
    const { length } = batch[batch.length - 1];
    const ids = new Int32Array(batch.length * length);
    for (const [i, text] of batch.entries()) ids.set(text.ids, i * length);
    const found = await time.measure('towers', () => model.encodeTexts(ids, batch.length, length));
    for (const [i, { row }] of batch.entries()) {
      features.set(found.subarray(i * width, (i + 1) * width), row * width);
    }
    advance(begin + batch.length);
  }
  return { features, cut: encoded.filter(({ cut }) => cut > 0).length };
}
