import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.js';
import { createDirectoryAtomic } from '../io/atomic.js';
import { writeNewFile } from '../io/fileWriter.js';
import { type NewEntry, writeLmdb } from '../io/lmdb/write.js';
import { progress, type Reporter } from '../io/terminal.js';
import { pickle } from '../io/writePickle.js';
import { type Dataset, type DatasetSource, type Id, openDataset } from './dataset.js';
import { type Numbering, numberIds } from './numbering.js';

export interface ConvertDatasetOptions {
  to: 'tsv' | 'lmdb';
  splits: readonly string[];
  /** how the dataset is stored; by default told from its files */
  source: DatasetSource | undefined;
  reporter: Reporter;
}

/**
 * Writes splits of a dataset as the reference's tools do, for them and for openDataset: as tsv and jsonl, or as LMDB
 * with the jsonl beside it. The folder appears when all of it is there. Pictures are copied as they are.
 *
 * Ids must be whole numbers there. Others are numbered, and SPLIT_ids.jsonl says which number stands for which id.
 *
 * @returns lines that say what was written
 * @throws UserError where the folder exists, or a split can't be read
 */
export async function convertDataset(
  from: string,
  out: string,
  { to, splits, source, reporter }: ConvertDatasetOptions,
): Promise<string[]> {
  if (new Set(splits).size < splits.length)
    throw new UserError(`${splits.join(',')}: a split is named twice`);
  const lines: string[] = [];
  await createDirectoryAtomic(out, async (folder) => {
    for (const split of splits) {
      const dataset = await openDataset(from, { split, source, warn: reporter.line });
      try {
        lines.push(...(await convertSplit(dataset, folder, split, to, reporter)));
      } finally {
        dataset.close();
      }
    }
  });
  return lines;
}

async function convertSplit(
  dataset: Dataset,
  folder: string,
  split: string,
  to: 'tsv' | 'lmdb',
  reporter: Reporter,
): Promise<string[]> {
  const { imageCount, textCount, pairCount, unpairedTextCount } = dataset;
  const imageIds = Array.from({ length: imageCount }, (_, row) => dataset.imageId(row));
  const textIds = Array.from(dataset.texts(), ({ textId }) => textId);
  const images = numberIds(imageIds);
  const texts = numberIds(textIds);
  const onImage = progress(reporter, `${split}: pictures`);
  let done = 0;
  const base64 = async (row: number) => {
    const { bytes } = await dataset.image(row);
    onImage(++done, imageCount);
    return bytes.toString('base64');
  };
  await writeLines(join(folder, `${split}_texts.jsonl`), textLines(dataset, images, texts));
  if (to === 'tsv') {
    await writeNewFile(join(folder, `${split}_imgs.tsv`), async (file) => {
      for (let row = 0; row < imageCount; row++)
        file.append(`${images.numbers[row]}\t${await base64(row)}\n`);
    });
  } else {
    const lmdb = (name: string) => {
      const path = join(folder, 'lmdb', split, name);
      mkdirSync(path, { recursive: true });
      return join(path, 'data.mdb');
    };
    await writeLmdb(lmdb('imgs'), imageEntries(images, base64));
    await writeLmdb(lmdb('pairs'), pairEntries(dataset, images, texts));
  }
  reporter.end();

  const lines = [`${split}: ${pairCount} pairs, ${imageCount} images, ${textCount} texts`];
  if (images.isNew || texts.isNew) {
    await writeLines(
      join(folder, `${split}_ids.jsonl`),
      idLines({ image: images, text: texts }, { imageIds, textIds }),
    );
    const kinds = [images.isNew ? 'image' : '', texts.isNew ? 'text' : ''].filter(Boolean).join(' and ');
    lines.push(
      `${split}: ${kinds} ids that are no whole numbers, which the Python tools need, were numbered anew: ` +
        `${split}_ids.jsonl holds both`,
    );
  }
  if (to === 'lmdb' && unpairedTextCount > 0) {
    lines.push(`${split}: ${unpairedTextCount} texts without images are in ${split}_texts.jsonl only`);
  }
  return lines;
}

function* textLines(dataset: Dataset, images: Numbering, texts: Numbering): Generator<string> {
  let row = 0;
  for (const { text, imageIds } of dataset.texts()) {
    yield JSON.stringify({ text_id: texts.numbers[row++], text, image_ids: imageIds.map(images.of) });
  }
}

function* idLines(
  { image, text }: Record<'image' | 'text', Numbering>,
  { imageIds, textIds }: Record<'imageIds' | 'textIds', Id[]>,
): Generator<string> {
  if (image.isNew) {
    for (const [row, original] of imageIds.entries()) {
      yield JSON.stringify({ image_id: image.numbers[row], original });
    }
  }
  if (text.isNew) {
    for (const [row, original] of textIds.entries()) {
      yield JSON.stringify({ text_id: text.numbers[row], original });
    }
  }
}

async function* imageEntries(
  { numbers }: Numbering,
  base64: (row: number) => Promise<string>,
): AsyncGenerator<NewEntry> {
  const keys = Array.from(numbers, String);
  const rows = Int32Array.from(keys.keys()).sort((a, b) => (keys[a] < keys[b] ? -1 : 1));
  for (const row of rows) yield { key: Buffer.from(keys[row]), value: Buffer.from(await base64(row)) };
  yield { key: Buffer.from('num_images'), value: Buffer.from(String(keys.length)) };
}

function* pairEntries(dataset: Dataset, images: Numbering, texts: Numbering): Generator<NewEntry> {
  for (const position of inOrderOfDigits(dataset.pairCount)) {
    const { imageRow, text } = dataset.caption(position);
    const textNumber = texts.numbers[dataset.pairTextRows[position]];
    const value = pickle([images.numbers[imageRow], textNumber, text]);
    yield { key: Buffer.from(String(position)), value };
  }
  yield { key: Buffer.from('num_samples'), value: Buffer.from(String(dataset.pairCount)) };
}

/** 0 … count − 1 in the order of their decimal digits as text: 0, 1, 10, 100, …, 11, …, 2, … */
export function* inOrderOfDigits(count: number): Generator<number> {
  if (count > 0) yield 0;
  function* from(first: number, last: number): Generator<number> {
    for (let number = first; number <= last && number < count; number++) {
      yield number;
      yield* from(number * 10, number * 10 + 9);
    }
  }
  yield* from(1, 9);
}

function writeLines(path: string, lines: Iterable<string>): Promise<void> {
  return writeNewFile(path, (file) => {
    for (const line of lines) file.append(`${line}\n`);
  });
}
