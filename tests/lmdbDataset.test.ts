import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { convertDataset, inOrderOfDigits } from '../src/data/convert.js';
import { type Dataset, openDataset } from '../src/data/dataset.js';
import { BatchLoader } from '../src/data/loader.js';
import { numberIds } from '../src/data/numbering.js';
import { UserError } from '../src/errors.js';
import { LmdbFile } from '../src/io/lmdb/read.js';
import { writeLmdb } from '../src/io/lmdb/write.js';
import { unpickle } from '../src/io/pickle.js';
import { pickle } from '../src/io/writePickle.js';
import { fixture, temporaryDirectory } from './support.js';

const root = temporaryDirectory();
let folders = 0;
const noWarning = (message: string) => assert.fail(`unexpected warning: ${message}`);

function newPath(): string {
  return join(root, String(folders++));
}

/** The golden valid split as tsv, and as the LMDB that the reference's tool made of it. */
function golden(): string {
  const folder = newPath();
  for (const name of ['imgs', 'pairs']) {
    const path = join(folder, 'lmdb', 'valid', name);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'data.mdb'), gunzipSync(readFileSync(fixture('lmdb', `valid_${name}.mdb.gz`))));
  }
  for (const name of ['valid_imgs.tsv', 'valid_texts.jsonl']) {
    copyFileSync(fixture('dataset', name), join(folder, name));
  }
  return folder;
}

async function pairsOf(dataset: Dataset) {
  return Promise.all(Array.from({ length: dataset.length }, (_, i) => dataset.pair(i)));
}

async function assertSameDataset(actual: Dataset, expected: Dataset): Promise<void> {
  assert.ok(expected.length > 0);
  assert.deepEqual(await pairsOf(actual), await pairsOf(expected));
  assert.deepEqual([...actual.texts()], [...expected.texts()]);
  assert.deepEqual([actual.imageCount, actual.textCount], [expected.imageCount, expected.textCount]);
}

const silent = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };
const convert = (from: string, out: string, to: 'tsv' | 'lmdb', splits = ['valid'], source?: 'lmdb') =>
  convertDataset(from, out, { to, splits, source, reporter: silent });

test("the reference's LMDB holds the samples of its tsv, in the same order", async () => {
  const folder = golden();
  const tsv = await openDataset(folder, { split: 'valid', warn: noWarning });
  const open = [
    openDataset(folder, { split: 'valid', source: 'lmdb', warn: noWarning }),
    // The split's own folder, told from its files; the split's name then does not matter.
    openDataset(join(folder, 'lmdb', 'valid'), { warn: noWarning }),
  ];
  for (const lmdb of await Promise.all(open)) {
    await assertSameDataset(lmdb, tsv);
    assert.equal(lmdb.location, join(folder, 'lmdb', 'valid'));
    assert.equal(lmdb.imageId(0), 1000);
    lmdb.close();
  }
  tsv.close();
});

test('worker threads read pictures from LMDB as from tsv', async () => {
  const folder = golden();
  const batches = [];
  for (const source of ['tsv', 'lmdb'] as const) {
    const dataset = await openDataset(folder, { split: 'valid', source, warn: noWarning });
    const tokenizer = {
      encodeBatch: (texts: readonly string[]) => ({
        ids: new Int32Array(0),
        n: texts.length,
        length: 0,
        cut: 0,
      }),
    };
    const loader = new BatchLoader({
      dataset,
      tokenizer,
      resolution: 16,
      contextLength: 8,
      batchSize: 8,
      seed: 0,
      shuffle: true,
      workers: 2,
      readAhead: 2,
      pixels: true,
    });
    const pixels: Float32Array[] = [];
    for await (const batch of loader.batches(0)) pixels.push(batch.pixels!);
    batches.push(pixels);
    await loader.close();
    dataset.close();
  }
  assert.ok(batches[0].length > 3);
  assert.deepEqual(batches[1], batches[0]);
});

test('converted to LMDB and back, a dataset stays the same', async () => {
  const folder = golden();
  const [lmdb, tsv] = [newPath(), newPath()];
  assert.deepEqual(await convert(folder, lmdb, 'lmdb'), ['valid: 43 pairs, 32 images, 32 texts']);
  await convert(lmdb, tsv, 'tsv', ['valid'], 'lmdb');
  assert.deepEqual(readdirSync(lmdb).sort(), ['lmdb', 'valid_texts.jsonl']);
  assert.deepEqual(
    readFileSync(join(tsv, 'valid_imgs.tsv'), 'utf8'),
    readFileSync(join(folder, 'valid_imgs.tsv'), 'utf8'),
  );
  const original = await openDataset(folder, { split: 'valid' });
  for (const path of [lmdb, tsv]) {
    const copy = await openDataset(path, { split: 'valid', warn: noWarning });
    await assertSameDataset(copy, original);
    copy.close();
  }
  original.close();
  // Keys and values are those of the reference's tool.
  const values = (base: string, name: string) => {
    const path = join(base, 'lmdb', 'valid', name, 'data.mdb');
    const file = new LmdbFile(path);
    const refuse = () => assert.fail();
    const found = Array.from(file.entries(), ({ key, ...place }) => {
      const value = file.read(place, path);
      const isPair = name === 'pairs' && /^\d/.test(key.toString());
      return [
        key.toString(),
        isPair ? unpickle(value, path, { construct: refuse, load: refuse }) : value.toString(),
      ];
    });
    file.close();
    return found;
  };
  for (const name of ['imgs', 'pairs']) assert.deepEqual(values(lmdb, name), values(folder, name));
});

test('ids that are no whole numbers are numbered, and a file says how', async () => {
  const folder = newPath();
  mkdirSync(folder);
  writeFileSync(join(folder, 'x_imgs.tsv'), 'b\tAAAA\na\tBBBB\n007\tCCCC\n');
  const texts = [
    { text_id: 'p', text: '“猫”', image_ids: ['a', '007'] },
    { text_id: 5, text: '', image_ids: [] },
  ];
  writeFileSync(join(folder, 'x_texts.jsonl'), texts.map((text) => `${JSON.stringify(text)}\n`).join(''));
  for (const to of ['tsv', 'lmdb'] as const) {
    const out = newPath();
    const lines = await convert(folder, out, to, ['x']);
    assert.match(lines[1], /image and text ids .* x_ids\.jsonl/);
    assert.equal(lines.length, to === 'lmdb' ? 3 : 2, 'an LMDB has no place for texts without images');
    assert.deepEqual(
      readFileSync(join(out, 'x_ids.jsonl'), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
      [
        { image_id: 10, original: 'b' },
        { image_id: 11, original: 'a' },
        { image_id: 12, original: '007' },
        { text_id: 10, original: 'p' },
        { text_id: 11, original: 5 },
      ],
    );
    const dataset = await openDataset(out, { split: 'x', warn: noWarning });
    assert.deepEqual(await pairsOf(dataset), [
      { imageId: 11, textId: 10, text: '“猫”', image: Buffer.from('BBBB', 'base64') },
      { imageId: 12, textId: 10, text: '“猫”', image: Buffer.from('CCCC', 'base64') },
    ]);
    dataset.close();
  }
  assert.deepEqual([...numberIds(['12', 3, '-4']).numbers], [12, 3, -4]);
  assert.ok(numberIds(['12', 12]).isNew, 'two ids must not become one');
  assert.ok(numberIds(['9007199254740993']).isNew);
});

test('a conversion leaves nothing half done, and overwrites nothing', async () => {
  const folder = golden();
  await assert.rejects(convert(folder, folder, 'tsv'), /exists already/);
  const out = newPath();
  await assert.rejects(convert(folder, out, 'lmdb', ['valid', 'missing']), UserError);
  await assert.rejects(convert(folder, out, 'tsv', ['valid', 'valid']), /twice/);
  writeFileSync(
    join(folder, 'valid_imgs.tsv'),
    readFileSync(join(folder, 'valid_imgs.tsv'), 'latin1').replace(/\t..../, '\t!'),
  );
  await assert.rejects(convert(folder, `${out}/`, 'tsv'), /line 1, image 1000: .*base64/);
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith(out.slice(root.length + 1))),
    [],
  );
  assert.ok(!existsSync(out));
});

test('positions in the order of their digits', () => {
  for (const count of [0, 1, 2, 10, 11, 101, 1234]) {
    const wanted = Array.from({ length: count }, (_, i) => String(i)).sort();
    assert.deepEqual(Array.from(inOrderOfDigits(count), String), wanted);
  }
});

test('an LMDB whose content is wrong is one error with file and pair', async (t) => {
  const image = { '1': 'AAAA', '2': 'BBBB', num_images: '2' };
  const pair = (imageId: number | string, textId: number | string, text = '猫') =>
    pickle([imageId, textId, text]);
  const good = { '0': pair(1, 7), '1': pair(2, 7), num_samples: '2' };
  const class_ = Buffer.from('\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.', 'latin1');
  const cases: [string, Record<string, Uint8Array | string>, Record<string, Uint8Array | string>, RegExp][] =
    [
      ['no num_images', { '1': 'AAAA' }, good, /imgs\/data\.mdb: .*num_images.*no such key/],
      ['no num_samples', image, { '0': pair(1, 7) }, /pairs\/data\.mdb: .*num_samples.*no such key/],
      ['num_samples that is no number', image, { ...good, num_samples: '2e3' }, /found "2e3"/],
      [
        'too many samples',
        image,
        { ...good, num_samples: '999999999999' },
        /says 999999999999, the file has 3 keys/,
      ],
      ['a missing pair', image, { '0': pair(1, 7), '2': pair(2, 7), num_samples: '2' }, /pair 1 is missing/],
      [
        'a picture that is not there',
        image,
        { ...good, '1': pair(3, 7) },
        /pair 1: image 3 is not in .*imgs/,
      ],
      [
        'one text_id, two texts',
        image,
        { ...good, '1': pair(2, 7, '狗') },
        /pairs 0 and 1 give text_id 7 different/,
      ],
      [
        'a pickle that runs something',
        image,
        { ...good, '1': class_ },
        /pair 1: expected a pickle of numbers/,
      ],
      ['a pickle of two', image, { ...good, '1': pickle([1, 2]) }, /pair 1: expected a pickle of \(image id/],
      [
        'a text that is none',
        image,
        { ...good, '1': pickle([1, 2, null]) },
        /pair 1: expected a pickle of \(image id/,
      ],
      [
        'a pickle that is cut',
        image,
        { ...good, '1': pair(2, 7).subarray(0, 9) },
        /pair 1 is damaged at byte/,
      ],
      ['an empty value', image, { ...good, '1': '' }, /pair 1 is damaged at byte 0/],
      ['no pickle', image, { ...good, '1': 'hello' }, /pair 1 is damaged/],
    ];
  const write = async (images: (typeof cases)[0][1], pairs: (typeof cases)[0][2]) => {
    const folder = newPath();
    for (const [name, content] of Object.entries({ imgs: images, pairs })) {
      mkdirSync(join(folder, name), { recursive: true });
      const entries = Object.entries(content).sort(([a], [b]) => (a < b ? -1 : 1));
      await writeLmdb(
        join(folder, name, 'data.mdb'),
        entries.map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) })),
      );
    }
    return folder;
  };
  for (const [name, images, pairs, message] of cases) {
    await t.test(name, async () => {
      const folder = await write(images, pairs);
      await assert.rejects(
        openDataset(folder, { warn: noWarning }),
        (error) =>
          error instanceof UserError && error.message.startsWith(folder) && message.test(error.message),
      );
    });
  }
  await t.test('damaged base64', async () => {
    const dataset = await openDataset(await write({ ...image, '2': 'A*' }, good), { warn: noWarning });
    await assert.rejects(dataset.pair(1), /imgs\/data\.mdb, image 2: the base64/);
    dataset.close();
  });
  await t.test('keys that an earlier, longer run has left are not taken, and that is said', async () => {
    const warnings: string[] = [];
    const folder = await write({ ...image, '3': 'CCCC' }, { ...good, '2': pair(3, 8) });
    const dataset = await openDataset(folder, { warn: (message) => warnings.push(message) });
    assert.deepEqual([dataset.length, dataset.imageCount], [2, 3]);
    assert.match(warnings.join('\n'), /num_images says 2, there are 3.*\n.*1 keys beyond num_samples/);
    dataset.close();
  });
  await t.test('pairs of one text that do not follow each other', async () => {
    const pairs = { '0': pair('1', 'a'), '1': pair('2', 'b'), '2': pair('2', 'a'), num_samples: '3' };
    const dataset = await openDataset(await write(image, pairs), { warn: noWarning });
    assert.deepEqual(
      [...dataset.texts()],
      [
        { textId: 'a', text: '猫', imageIds: ['1', '2'] },
        { textId: 'b', text: '猫', imageIds: ['2'] },
      ],
    );
    assert.deepEqual([...dataset.pairTextRows], [0, 1, 0]);
    dataset.close();
  });
});
