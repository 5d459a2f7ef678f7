import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../errors.js';
import type { Reporter } from '../../io/terminal.js';
import type { DualEncoder } from '../../model/dualEncoder.js';
import { digest } from '../../model/fingerprint.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { encodeCaptions, SORTED_BATCHES } from '../encode.js';
import { encodeRows } from '../encodeRows.js';
import type { IdField } from '../files.js';
import type { Id } from '../retrieval.js';
import { TimeSplit } from '../timeSplit.js';
import { FeatureFile } from './featureFile.js';
import type { Pictures } from './pictures.js';

export type FeatureFormat = 'jsonl' | 'npy';

/** What the features of both towers are computed with, and where they go. */
export interface Extraction {
  model: DualEncoder;
  /** SHA-256 of model, vocabulary and context length */
  fingerprint: string;
  out: string;
  formats: readonly FeatureFormat[];
  batchSize: number;
  /** the part of one of `count` processes */
  shard: { index: number; count: number };
  /**
   * Called before features are computed, with what they depend on; throws where the folder holds others.
   */
  claim: (kind: keyof typeof featureNames, rows: number, key: string) => void;
  reporter: Reporter;
}

/** Beginnings of the files' names, as the reference has them. */
export const featureNames = { images: 'imgs.img_feat', texts: 'texts.txt_feat' } as const;

/**
 * Writes normalised features of pictures, in their order: `imgs.img_feat.jsonl` as the reference's extract_features
 * writes it, or `imgs.img_feat.npy`. Finished batches are kept in `imgs.img_feat.partial` until all are done.
 * Files that are there already are kept.
 *
 * @throws UserError naming a picture that can't be read or decoded; where the folder holds features of other pictures
 */
export function extractImages(extraction: Extraction, pictures: Pictures, workers: number): Promise<void> {
  const { model, batchSize } = extraction;
  const ids = {
    count: pictures.count,
    field: 'image_id',
    idOf: (row: number) => pictures.imageId(row),
  } as const;
  const encoding = { model, batchSize, workers };
  return extract(extraction, 'images', ids, batchSize, (begin, end) =>
    encodeRows(encoding, pictures.imageSource, begin, end),
  );
}

/**
 * Writes normalised features of texts, in the file's order: `texts.txt_feat.jsonl` or `texts.txt_feat.npy`. Texts of like
 * length are encoded together, so that little padding is computed.
 */
export function extractTexts(
  extraction: Extraction,
  texts: readonly { textId: Id; text: string }[],
  tokenizer: Tokenizer,
  contextLength: number,
): Promise<void> {
  const { model, batchSize, reporter } = extraction;
  const ids = { count: texts.length, field: 'text_id', idOf: (row: number) => texts[row].textId } as const;
  const step = SORTED_BATCHES * batchSize;
  return extract(extraction, 'texts', ids, step, async function* (begin, end) {
    const time = new TimeSplit();
    let cutTexts = 0;
    for (let first = begin; first < end; first += step) {
      const captions = texts.slice(first, Math.min(end, first + step)).map(({ text }) => text);
      const { features, cut } = await encodeCaptions(
        model,
        tokenizer,
        captions,
        contextLength,
        batchSize,
        time,
        (done) => reporter.advance(first - begin + done),
      );
      cutTexts += cut;
      yield features;
    }
    if (cutTexts > 0) reporter.line(`${cutTexts} texts were cut to ${contextLength} tokens`);
  });
}

/**
 * Computes the rows of a shard, going on where an earlier run stood, and writes them.
 *
 * @param step rows that are computed together: see `FeatureFile.fill`
 * @param compute features of the rows from `begin` to below `end`, `step` rows at a time
 */
async function extract(
  { model, fingerprint, out, formats, batchSize, shard, claim, reporter }: Extraction,
  kind: keyof typeof featureNames,
  { count, field, idOf }: { count: number; field: IdField; idOf: (row: number) => Id },
  step: number,
  compute: (begin: number, end: number) => AsyncGenerator<Float32Array>,
): Promise<void> {
  const width = model.config.embed_dim;
  const [begin, end] = [0, 1].map((i) => Math.floor((count * (shard.index + i)) / shard.count));
  if (begin === end) throw new UserError(`${count} rows can't be divided into ${shard.count} shards`);
  const name = featureNames[kind];
  const ids = Array.from({ length: end - begin }, (_, i) => idOf(begin + i));
  const key = digest([fingerprint, batchSize, ids]);
  claim(kind, end - begin, key);
  const paths = formats.map((format) => ({ format, path: join(out, `${name}.${format}`) }));
  const missing = paths.filter(({ path }) => !existsSync(path));
  if (missing.length === 0) {
    reporter.line(`${paths.map(({ path }) => path).join(', ')}: there already`);
    return;
  }
  const file = new FeatureFile(join(out, `${name}.partial`), key, width);
  try {
    await file.fill(name, end - begin, step, (done) => compute(begin + done, end), reporter);
    for (const { format, path } of missing) {
      if (format === 'jsonl') file.writeJsonl(path, field, (row) => ids[row]);
      else file.writeNpy(path, field, (row) => ids[row]);
      reporter.line(`${path}: ${file.rows} features`);
    }
    file.remove();
  } catch (error) {
    file.close();
    throw error;
  }
}
