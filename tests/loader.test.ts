import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { type Dataset, openDataset } from '../src/data/dataset.js';
import { ImageWorkerPool } from '../src/data/imageWorkerPool.js';
import { type Batch, BatchLoader, type LoaderOptions } from '../src/data/loader.js';
import { epochOrder } from '../src/data/sampler.js';
import { UserError } from '../src/errors.js';
import { preprocessImage } from '../src/image/preprocess.js';

const directory = mkdtempSync(join(tmpdir(), 'cn-clip-loader-'));
for (const split of ['train', 'valid']) {
  for (const name of [`${split}_imgs.tsv`, `${split}_texts.jsonl`]) {
    copyFileSync(
      fileURLToPath(new URL(`../../tests/fixtures/dataset/${name}`, import.meta.url)),
      join(directory, name),
    );
  }
}
const valid = await openDataset(directory, { split: 'valid' });
after(() => {
  valid.close();
  rmSync(directory, { recursive: true });
});

/** Ids are the text's code units: enough to see which text stands where. */
const tokenizer = {
  encodeBatch(texts: readonly string[], length: number) {
    const ids = new Int32Array(texts.length * length);
    texts.forEach((text, row) => {
      for (let i = 0; i < Math.min(text.length, length); i++) ids[row * length + i] = text.charCodeAt(i);
    });
    return { ids, n: texts.length, length, cut: texts.filter((text) => text.length > length).length };
  },
};

/** Runs `use` with a loader and closes it. */
async function withLoader<T>(
  options: Partial<LoaderOptions>,
  use: (loader: BatchLoader) => Promise<T>,
): Promise<T> {
  const loader = new BatchLoader({
    dataset: valid,
    tokenizer,
    resolution: 16,
    contextLength: 8,
    batchSize: 10,
    seed: 5,
    shuffle: true,
    workers: 1,
    readAhead: 2,
    augment: false,
    pixels: true,
    ...options,
  });
  try {
    return await use(loader);
  } finally {
    await loader.close();
  }
}

async function collect<T>(generator: AsyncGenerator<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of generator) collected.push(item);
  return collected;
}

const contentOf = ({ waitSeconds: _, ...content }: Batch) => content;

async function pixelsOf(dataset: Dataset, row: number, resolution: number): Promise<Float32Array> {
  return preprocessImage((await dataset.image(row)).bytes, resolution);
}

test('a batch holds the pairs of its place in the epoch, their texts and pixels', async () => {
  await withLoader({}, async (loader) => {
    const batches = await collect(loader.batches(3));
    const order = epochOrder(valid.pairCount, 10, 5, 3, true);
    assert.equal(loader.batchesPerEpoch, order.length / 10);
    assert.equal(batches.length, loader.batchesPerEpoch);
    for (const [b, { n, length, ids, pixels, imageRows, pairs, waitSeconds }] of batches.entries()) {
      assert.deepEqual(pairs, order.slice(b * 10, b * 10 + 10));
      assert.deepEqual([n, length], [10, 8]);
      assert.equal(pixels!.length, 10 * 3 * 16 * 16);
      assert.ok(waitSeconds >= 0);
      for (let i = 0; i < n; i++) {
        const pair = valid.caption(pairs[i]);
        assert.equal(imageRows[i], pair.imageRow);
        assert.deepEqual(ids.slice(i * 8, i * 8 + 8), tokenizer.encodeBatch([pair.text], 8).ids);
        assert.deepEqual(pixels!.slice(i * 768, i * 768 + 768), await pixelsOf(valid, pair.imageRow, 16));
      }
    }
    const { batches: given, samples } = loader.statistics;
    assert.deepEqual([given, samples], [batches.length, order.length]);
  });
});

test('workers and read-ahead do not change the batches, nor does starting in the middle', async () => {
  const whole = await withLoader({}, async (loader) => (await collect(loader.batches(0))).map(contentOf));
  for (const options of [
    { workers: 3 },
    { workers: 2, readAhead: 1 },
    { workers: 4, readAhead: 50, batchSize: 10 },
  ]) {
    const other = await withLoader(options, async (loader) =>
      (await collect(loader.batches(0))).map(contentOf),
    );
    assert.deepEqual(other, whole);
  }
  const rest = await withLoader({}, async (loader) => (await collect(loader.batches(0, 2))).map(contentOf));
  assert.deepEqual(rest, whole.slice(2));
  const without = await withLoader({ pixels: false }, async (loader) =>
    (await collect(loader.batches(0))).map(contentOf),
  );
  assert.deepEqual(
    without,
    whole.map((batch) => ({ ...batch, pixels: undefined })),
  );
});

test('captions are prepared as the datasets of the reference are, and cut ones counted', async () => {
  writeFileSync(join(directory, 'quotes_imgs.tsv'), readFileSync(join(directory, 'valid_imgs.tsv')));
  writeFileSync(
    join(directory, 'quotes_texts.jsonl'),
    '{"text_id":1,"text":"A“猫”","image_ids":[1000]}\n{"text_id":2,"text":"一二三四五六七八九","image_ids":[1000]}\n',
  );
  const dataset = await openDataset(directory, { split: 'quotes' });
  await withLoader({ dataset, pixels: false, batchSize: 2, shuffle: false }, async (loader) => {
    const [batch] = await collect(loader.batches(0));
    assert.equal(String.fromCharCode(...batch.ids.subarray(0, 4)), 'a"猫"');
    assert.equal(loader.statistics.cutTexts, 1);
  });
  dataset.close();
});

test('images gives every image once, in row order', async () => {
  await withLoader({ workers: 2, batchSize: 7, pixels: false }, async (loader) => {
    const batches = await collect(loader.images());
    assert.deepEqual(
      batches.flatMap(({ imageRows }) => [...imageRows]),
      Array.from({ length: 32 }, (_, row) => row),
    );
    assert.deepEqual(
      batches.map(({ n }) => n),
      [7, 7, 7, 7, 4],
    );
    assert.deepEqual(batches[1].pixels.slice(768, 2 * 768), await pixelsOf(valid, 8, 16));
    assert.equal(batches[4].pixels.length, 4 * 768);
  });
});

test('as many batches as are read ahead become ready while the consumer blocks the thread', async () => {
  copyFileSync(join(directory, 'valid_imgs.tsv'), join(directory, 'cut_imgs.tsv'));
  copyFileSync(join(directory, 'valid_texts.jsonl'), join(directory, 'cut_texts.jsonl'));
  const dataset = await openDataset(directory, { split: 'cut' });
  await withLoader({ dataset, workers: 2, readAhead: 2, batchSize: 8 }, async (loader) => {
    const images = loader.images();
    await images.next();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    // What the workers have not read by now can't be read any more.
    truncateSync(join(directory, 'cut_imgs.tsv'));
    assert.deepEqual((await images.next()).value.imageRows[0], 8);
    assert.deepEqual((await images.next()).value.imageRows[0], 16);
    await assert.rejects(images.next(), /the file ended/);
  });
  dataset.close();
});

test('a broken image is an error with file, line and id, at its batch', async () => {
  const lines = readFileSync(join(directory, 'valid_imgs.tsv'), 'utf8').split('\n');
  const [id, base64] = lines[20].split('\t');
  lines[20] = `${id}\t${base64
    .slice(0, base64.length / 8)
    .replace(/=/g, '')
    .slice(0, 40)}`;
  writeFileSync(join(directory, 'broken_imgs.tsv'), lines.join('\n'));
  copyFileSync(join(directory, 'valid_texts.jsonl'), join(directory, 'broken_texts.jsonl'));
  const dataset = await openDataset(directory, { split: 'broken' });
  await withLoader({ dataset, workers: 2, readAhead: 4, batchSize: 10, shuffle: false }, async (loader) => {
    const seen: number[] = [];
    await assert.rejects(
      async () => {
        for await (const { imageRows } of loader.images()) seen.push(imageRows[0]);
      },
      (error) =>
        error instanceof UserError &&
        error.message.startsWith(`${join(directory, 'broken_imgs.tsv')}, line 21, image ${id}: `),
    );
    assert.deepEqual(seen, [0, 10]);
  });
  dataset.close();
});

test('a split without pairs gives images, and says that there is nothing to train on', async () => {
  copyFileSync(join(directory, 'valid_imgs.tsv'), join(directory, 'alone_imgs.tsv'));
  writeFileSync(join(directory, 'alone_texts.jsonl'), '{"text_id":1,"text":"猫","image_ids":[]}\n');
  const dataset = await openDataset(directory, { split: 'alone' });
  await withLoader({ dataset, batchSize: 32 }, async (loader) => {
    assert.equal((await collect(loader.images()))[0].n, 32);
    await assert.rejects(collect(loader.batches(0)), /split alone: no pairs to train on/);
  });
  dataset.close();
});

test('a pool that fails or is closed rejects what is under way and what follows', async () => {
  const settings = { source: valid.imageSource, resolution: 16 };
  const rows = Int32Array.of(0, 1, 2);
  const dying = new ImageWorkerPool(2, {
    source: { kind: 'tsv', path: join(directory, 'gone.tsv'), starts: Float64Array.of(0) },
    resolution: 16,
  });
  await assert.rejects(dying.load(rows), /an image worker failed: .*gone\.tsv/);
  await assert.rejects(dying.load(rows), /an image worker failed/);
  await dying.close();
  const closed = new ImageWorkerPool(2, settings);
  const loading = [closed.load(rows), closed.load(rows)];
  const rejected = Promise.all(loading.map((promise) => assert.rejects(promise, /were closed/)));
  await closed.close();
  await rejected;
  await assert.rejects(closed.load(rows), /were closed/);
});

test('the pictures for a teacher of another resolution are those of a loader of that resolution', async () => {
  for (const augment of [false, true]) {
    const batchesOf = (options: Partial<LoaderOptions>) =>
      withLoader({ augment, workers: 2, ...options }, async (loader) => collect(loader.batches(2)));
    const taught = await batchesOf({ teacherResolution: 24 });
    const expected = await batchesOf({ resolution: 24 });
    const alone = await batchesOf({ teacherResolution: 16 });
    for (const [i, { pixels, teacherPixels }] of taught.entries()) {
      assert.deepEqual(teacherPixels, expected[i].pixels);
      assert.deepEqual(pixels, alone[i].pixels);
      assert.equal(alone[i].teacherPixels, undefined);
    }
  }
});

test('augmented pictures depend on seed, epoch and pair alone', async () => {
  const pixelsOfPairs = (options: Partial<LoaderOptions>, epoch: number, startBatch = 0) =>
    withLoader({ augment: true, ...options }, async (loader) => {
      const given = new Map<number, Float32Array>();
      for (const { n, pairs, pixels } of await collect(loader.batches(epoch, startBatch)))
        for (let i = 0; i < n; i++) given.set(pairs[i], pixels!.slice(i * 768, i * 768 + 768));
      return given;
    });
  const whole = await pixelsOfPairs({}, 1);
  assert.equal(whole.size, valid.pairCount);
  // Another order, other batches, other workers.
  const other = { workers: 3, batchSize: 7, shuffle: false };
  for (const [pair, pixels] of await pixelsOfPairs(other, 1)) assert.deepEqual(pixels, whole.get(pair));
  const rest = await pixelsOfPairs({}, 1, 1);
  assert.ok(rest.size < whole.size);
  for (const [pair, pixels] of rest) assert.deepEqual(pixels, whole.get(pair));
  for (const [options, epoch] of [
    [{}, 2],
    [{ seed: 6 }, 1],
    [{ augment: false }, 1],
  ] as const) {
    // Small and plain pictures can come out the same.
    const others = [...(await pixelsOfPairs(options, epoch))];
    const same = others.filter(([pair, pixels]) => isDeepStrictEqual(pixels, whole.get(pair)));
    assert.ok(same.length < others.length / 2, `${same.length} of ${others.length}`);
  }
  await withLoader({ augment: true }, async (loader) => {
    for (const { n, imageRows, pixels } of await collect(loader.images()))
      for (let i = 0; i < n; i++)
        assert.deepEqual(pixels.slice(i * 768, i * 768 + 768), await pixelsOf(valid, imageRows[i], 16));
  });
});

test('neither idle workers nor an abandoned epoch keep the process alive', async () => {
  const program = `
    const { openDataset } = await import(${JSON.stringify(new URL('../src/data/dataset.js', import.meta.url).href)});
    const { BatchLoader } = await import(${JSON.stringify(new URL('../src/data/loader.js', import.meta.url).href)});
    const dataset = await openDataset(${JSON.stringify(directory)}, { split: 'train' });
    const tokenizer = { encodeBatch: (texts, length) => ({ ids: new Int32Array(0), n: texts.length, length, cut: 0 }) };
    const loader = new BatchLoader({ dataset, tokenizer, resolution: 16, contextLength: 8, batchSize: 8, seed: 0,
      shuffle: true, workers: 2, readAhead: 2, augment: false, pixels: true });
    let count = 0;
    for await (const batch of loader.batches(0)) if (++count === 3) break;
    console.log('took', count);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const timer = setTimeout(() => child.kill(), 20_000);
  const [code] = await once(child, 'exit');
  clearTimeout(timer);
  assert.deepEqual([code, output], [0, 'took 3\n']);
});
