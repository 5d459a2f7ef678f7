import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BrokenImages } from '../src/data/brokenImages.js';
import { type Dataset, openDataset } from '../src/data/dataset.js';
import { type Batch, BatchLoader, type LoaderOptions } from '../src/data/loader.js';
import { replacePairs } from '../src/data/replacePairs.js';
import { epochOrder } from '../src/data/sampler.js';
import { UserError } from '../src/errors.js';
import { preprocessImage } from '../src/image/preprocess.js';
import { Tokenizer } from '../src/text/tokenizer.js';
import { fixture, temporaryDirectory } from './support.js';

const directory = temporaryDirectory();
const tokenizer = new Tokenizer(['[PAD]', '[UNK]', '[CLS]', '[SEP]']);
/** Rows whose pictures are damaged in the split "broken", in different ways. */
const brokenRows = [3, 57, 58, 120, 301, 399];
const lines = readFileSync(fixture('dataset', 'train_imgs.tsv'), 'utf8').trimEnd().split('\n');
for (const [i, row] of brokenRows.entries()) {
  const [id, base64] = lines[row].split('\t');
  lines[row] = `${id}\t${['AAAA', '*', base64.slice(0, 80)][i % 3]}`;
}
writeFileSync(join(directory, 'broken_imgs.tsv'), lines.join('\n'));
copyFileSync(fixture('dataset', 'train_texts.jsonl'), join(directory, 'broken_texts.jsonl'));
const dataset: Dataset = await openDataset(directory, { split: 'broken' });
after(() => dataset.close());

async function batchesOf(changes: Partial<LoaderOptions>, startBatch = 0) {
  const reported: string[] = [];
  const loader = new BatchLoader({
    dataset,
    tokenizer,
    resolution: 16,
    contextLength: 8,
    batchSize: 32,
    seed: 4,
    shuffle: true,
    workers: 1,
    readAhead: 2,
    pixels: true,
    maxBrokenRate: 0.05,
    report: (line) => reported.push(line),
    ...changes,
  });
  const batches: Batch[] = [];
  try {
    if (changes.pixels === false) for await (const _ of loader.images());
    for await (const batch of loader.batches(2, startBatch)) batches.push({ ...batch, waitSeconds: 0 });
    return { batches, reported, count: loader.brokenImages };
  } finally {
    await loader.close();
  }
}

test('pairs of broken pictures are replaced by the next of the order, and batches stay whole', async () => {
  const { batches, reported, count } = await batchesOf({});
  const order = epochOrder(dataset.pairCount, 32, 4, 2, true);
  const isBroken = (pair: number) => brokenRows.includes(dataset.pairImageRows[pair]);
  assert.equal(batches.length, order.length / 32);
  let replaced = 0;
  for (const [b, { n, pairs, pixels, imageRows, replacedPairs }] of batches.entries()) {
    const original = [...order.subarray(b * 32, b * 32 + 32)];
    const following = [...order.subarray(b * 32 + 32), ...order].filter((pair) => !isBroken(pair));
    const expected = original.map((pair) => (isBroken(pair) ? following.shift()! : pair));
    assert.deepEqual([...pairs], expected, `batch ${b}`);
    assert.equal(n, 32);
    assert.equal(replacedPairs, original.filter(isBroken).length);
    replaced += replacedPairs;
    for (const [i, row] of imageRows.entries()) {
      assert.equal(row, dataset.pairImageRows[pairs[i]]);
      const alone = await preprocessImage(Buffer.from((await dataset.image(row)).bytes), 16);
      assert.deepEqual(pixels!.subarray(i * 768, (i + 1) * 768), alone);
    }
  }
  assert.ok(replaced >= brokenRows.length);
  assert.equal(count, brokenRows.length);
  assert.deepEqual(
    reported
      .map((line) => Number(/broken_imgs\.tsv, line (\d+), image \d+: \w+/.exec(line)?.[1]) - 1)
      .sort((a, b) => a - b),
    brokenRows,
  );
});

test('what replaces them depends neither on workers, read-ahead or where reading starts, nor on pixels', async () => {
  const { batches } = await batchesOf({});
  for (const changes of [{ workers: 3 }, { readAhead: 1 }, { readAhead: 40, workers: 2 }]) {
    assert.deepEqual((await batchesOf(changes)).batches, batches);
  }
  assert.deepEqual((await batchesOf({}, 5)).batches, batches.slice(5));
  const features = await batchesOf({ pixels: false });
  assert.deepEqual(
    features.batches,
    batches.map((batch) => ({ ...batch, pixels: undefined })),
  );
  assert.equal(features.count, brokenRows.length);
});

test('with uniqueCaptions no batch repeats a text or an image, replaced pairs included', async () => {
  const plain = await batchesOf({});
  const unique = await batchesOf({ uniqueCaptions: true });
  const repeated = ({ batches }: typeof plain) =>
    batches.reduce((sum, batch) => sum + batch.repeatedPairs, 0);
  const replaced = ({ batches }: typeof plain) =>
    batches.reduce((sum, batch) => sum + batch.replacedPairs, 0);
  assert.ok(repeated(plain) > 0);
  assert.equal(repeated(unique), 0);
  assert.ok(replaced(unique) >= brokenRows.length);
  assert.deepEqual((await batchesOf({ uniqueCaptions: true }, 9)).batches, unique.batches.slice(9));
});

test('above maxBrokenRate reading ends, without one at the first broken picture', async () => {
  const isOurs = (pattern: RegExp) => (error: unknown) =>
    error instanceof UserError && pattern.test(error.message);
  // 6 of 400 are 1.5 %.
  await assert.rejects(
    batchesOf({ maxBrokenRate: 0.01 }),
    isOurs(/5 of \d+ pictures are broken.*maxBrokenRate/),
  );
  await assert.rejects(
    batchesOf({ maxBrokenRate: 0 }),
    isOurs(/\d of \d+ pictures are broken, more than maxBrokenRate \(0\)/),
  );
  await assert.rejects(batchesOf({ maxBrokenRate: undefined }), isOurs(/broken_imgs\.tsv, line \d+/));
});

test('the rate is that of a thousand pictures at least, and of those read beyond', () => {
  const read = (broken: BrokenImages, rows: number[], failing: number[] = []) =>
    broken.note(Int32Array.from(rows), new Map(failing.map((place) => [place, `row ${rows[place]}`])));
  const range = (start: number, end: number) => Array.from({ length: end - start }, (_, i) => start + i);
  const reported: string[] = [];
  const broken = new BrokenImages(5000, 0.01, (line) => reported.push(line));
  read(broken, range(0, 20), range(0, 10));
  read(broken, range(0, 20), range(0, 10));
  assert.deepEqual([broken.count, reported.length], [10, 10], 'a picture is counted once');
  read(broken, range(20, 2020));
  read(broken, range(2020, 2030), range(0, 10));
  assert.equal(broken.count, 20);
  assert.ok(broken.has(3) && broken.has(2025) && !broken.has(15));
  assert.throws(() => read(broken, [4000], [0]), /21 of 2031 pictures are broken/);
});

test('where every picture is broken, that is said', () => {
  assert.throws(
    () => replacePairs(Int32Array.of(0, 1, 2, 0), 0, 2, () => false),
    /no picture of the dataset can be read/,
  );
  // Fewer usable pairs than places: they are used again.
  assert.deepEqual([...replacePairs(Int32Array.of(0, 1, 2, 3), 0, 4, (pair) => pair === 2)], [2, 2, 2, 2]);
});
