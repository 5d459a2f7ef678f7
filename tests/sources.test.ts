import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { convertDataset } from '../src/data/convert.js';
import { type Dataset, type OpenDatasetOptions, openDataset } from '../src/data/dataset.js';
import { ImageWorkerPool } from '../src/data/imageWorkerPool.js';
import { openData } from '../src/data/mixedDataset.js';
import { expandBraces } from '../src/data/splitFiles.js';
import { UserError } from '../src/errors.js';
import { Random } from '../src/random.js';
import { isRefused } from './hostile.js';
import { mutate } from './mutate.js';
import {
  type Sample,
  singly,
  smallSet,
  writeFolder,
  writeParquet,
  writeShards,
  writeTsv,
} from './sources.js';
import { temporaryDirectory } from './support.js';
import { tar } from './tarBytes.js';

const root = temporaryDirectory();
let folders = 0;
const samples = smallSet(20);
const single = singly(samples);

/** A path of a folder that is not there yet. */
const fresh = () => join(root, String(folders++));

/** A new folder with these files. */
function folder(files: Record<string, string | Uint8Array>): string {
  const path = fresh();
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

const noWarning = (message: string) => assert.fail(`unexpected warning: ${message}`);
const open = (path: string, options: Partial<OpenDatasetOptions> = {}) =>
  openDataset(path, { warn: noWarning, ...options });

/** Every pair's caption and picture. */
async function pairsOf(dataset: Dataset): Promise<[string, Buffer][]> {
  const pairs: [string, Buffer][] = [];
  for (let i = 0; i < dataset.length; i++) {
    const { text, image } = await dataset.pair(i);
    pairs.push([text, image]);
  }
  return pairs;
}

const expectedPairs = (set: readonly Sample[]) =>
  set.flatMap(({ image, captions }) => captions.map((caption): [string, Buffer] => [caption, image]));

const refuses = (path: string, message: RegExp, options: Partial<OpenDatasetOptions> = {}) =>
  assert.rejects(open(path, options), (error) => {
    assert.ok(error instanceof UserError, String((error as Error).stack));
    assert.match(error.message, message);
    return true;
  });

test('one small set in each form: the same pairs, rows and pixels, and the source is told', async () => {
  const parquetFolder = folder({});
  mkdirSync(join(parquetFolder, 'data'));
  writeParquet(join(parquetFolder, 'data', 'train-00000-of-00002.parquet'), samples.slice(0, 9));
  writeParquet(join(parquetFolder, 'data', 'train-00001-of-00002.parquet'), samples.slice(9));
  writeParquet(join(parquetFolder, 'data', 'test-00000-of-00001.parquet'), samples.slice(3));
  const shards = writeShards(fresh(), single, 6);
  const forms: [string, readonly Sample[], Partial<OpenDatasetOptions>?][] = [
    [writeTsv(fresh(), samples), samples],
    [writeFolder(fresh(), samples, 'captions.csv'), samples],
    [writeFolder(fresh(), samples, 'captions.tsv'), samples],
    [writeFolder(fresh(), samples, 'metadata.csv'), samples],
    [writeFolder(fresh(), samples, 'train.jsonl'), samples],
    [parquetFolder, samples],
    [join(parquetFolder, 'data', 'train-{00000..00001}-of-00002.parquet'), samples],
    [shards, single],
    [join(shards, 'train-{000000..000003}.tar'), single],
    [join(shards, 'train-{000000,000001,000002,000003}.tar'), single],
    [writeShards(fresh(), single, 20, 'text'), single],
    [writeShards(fresh(), single, 20, 'sentence'), single, { columns: { text: 'sentence' } }],
  ];
  const reporter = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };
  const lmdb = fresh();
  await convertDataset(forms[0][0], lmdb, { to: 'lmdb', splits: ['train'], source: undefined, reporter });
  forms.push([join(lmdb, 'lmdb', 'train'), samples]);
  // The order of names is that of .txt files.
  const byName = [...single].sort((a, b) => (a.id < b.id ? -1 : 1));
  forms.push([writeFolder(fresh(), single, 'txt'), byName]);
  let pixels: Float32Array | undefined;
  for (const [path, set, options] of forms) {
    const dataset = await open(path, options);
    assert.deepEqual(await pairsOf(dataset), expectedPairs(set), path);
    assert.equal(dataset.imageCount, set.length);
    assert.equal(new Set(Array.from(set, (_, row) => dataset.imageId(row))).size, set.length);
    const texts = [...dataset.texts()];
    assert.deepEqual(
      texts.map(({ text }) => text),
      set.flatMap(({ captions }) => captions),
    );
    assert.equal(new Set(texts.map(({ textId }) => textId)).size, texts.length);
    for (const [position, { textId, imageIds }] of texts.entries()) {
      const caption = dataset.caption(position);
      assert.equal(caption.textId, textId);
      assert.deepEqual(imageIds, [dataset.imageId(dataset.pairImageRows[position])]);
      assert.equal(caption.imageRow, dataset.pairImageRows[position]);
      assert.equal(dataset.pairTextRows[position], position);
    }
    // In worker threads, in an order that jumps between shards and row groups.
    if (set !== byName) {
      const pool = new ImageWorkerPool(2, { source: dataset.imageSource, resolution: 8 });
      const { pixels: loaded } = await pool.load(Int32Array.of(19, 0, 7, 13, 6, 8, 5));
      pixels ??= loaded;
      assert.deepEqual(loaded, pixels, path);
      await pool.close();
    }
    dataset.close();
  }
});

test('a folder: columns by name, several captions of a picture, mistakes with their line', async () => {
  const images = { 'a.png': samples[0].image, 'b.png': samples[1].image };
  const files = (name: string, table: string) => folder({ ...images, [name]: table });
  const named = await open(files('captions.csv', 'id,photo,zh\r\n1,a.png,"一, 二"\r\n2,a.png,三\r\n'), {
    columns: { image: 'photo', text: 'zh' },
  });
  assert.deepEqual([named.imageCount, named.pairCount, named.caption(0).text], [1, 2, '一, 二']);
  assert.deepEqual([named.imageId(0), named.caption(1).textId], ['a.png', 1]);
  named.close();
  const cases: [string, string, RegExp][] = [
    [
      'captions.csv',
      'image\na.png\n',
      /line 1: no column for the text: expected one of caption, text, title; there are image/,
    ],
    [
      'captions.csv',
      'image,text\na.png,x\nb.png\n',
      /captions\.csv, line 3: 1 fields, the first line names 2/,
    ],
    ['captions.csv', 'image,text\nc.png,x\n', /captions\.csv, line 2: .*"c\.png" can't be found/],
    ['captions.csv', 'image,text\na.png,"x\n', /line 2: a quote is not closed/],
    ['captions.csv', 'image,text\n', /there is no picture with a caption/],
    [
      'captions.jsonl',
      '{"image":"a.png","text":5}\n',
      /line 1: expected a caption, a string or a list of strings; found 5/,
    ],
    ['captions.jsonl', '{"image":"a.png","text":["x",null]}\n', /line 1: expected a caption.*found null/],
    ['captions.jsonl', '{"image":7,"text":"x"}\n', /line 1: expected the picture's path, a string; found 7/],
    ['captions.jsonl', '{"image":"a.png"}\n', /line 1: no column for the text/],
    ['captions.jsonl', '{"image":"a.png",', /line 1: expected one JSON object/],
  ];
  for (const [name, table, message] of cases) await refuses(files(name, table), message);
  await refuses(
    folder({ ...images, 'captions.csv': 'image,text\n', 'captions.tsv': '' }),
    /expected one table/,
    {
      source: 'folder',
    },
  );
  await refuses(folder(images), /there is no picture with a caption/, { source: 'folder', warn: () => {} });
});

test('2000 damaged tables: each is read, or is one error of ours', async () => {
  const path = folder({ 'a.png': samples[0].image, 'b.png': samples[1].image });
  const tables = {
    'captions.csv': 'image,text\r\na.png,"一, ""二"""\r\nb.png,三\r\na.png,"x\ny"\r\n',
    'captions.jsonl': '{"image":"a.png","text":["x","y"]}\n{"image":"b.png","text":"一","n":[{}]}\n',
  };
  const others = Object.values(tables).map((table) => Buffer.from(table));
  let refused = 0;
  for (let seed = 0; seed < 2000; seed++) {
    const index = seed % 2;
    const name = Object.keys(tables)[index];
    writeFileSync(join(path, name), mutate(others[index], others, new Random('tables', seed)));
    const read = async () => (await open(path, { source: 'folder', warn: () => {} })).close();
    if (await isRefused(read, `mutation ${seed}`, { file: path })) refused++;
    rmSync(join(path, name));
  }
  assert.ok(refused > 500 && refused < 2000, `${refused} refused`);
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  for (const [line, message] of [
    [`{"image":${deep},"text":"x"}`, /line 1: expected the picture's path, a string; found a list/],
    [`{"image":"a.png","text":[${deep}]}`, /line 1: expected a caption.*found a list/],
    [`{"image":"${'x'.repeat(1 << 20)}","text":"x"}`, /line 1: .{0,400}inside of the folder/],
    [`{"image":"a.png","text":"${'x'.repeat(2 << 20)}"}`, /line 1: a caption of 2097152 characters/],
  ] as const) {
    await refuses(folder({ 'captions.jsonl': `${line}\n` }), message);
  }
});

test('a table can not name what lies outside of its folder', async () => {
  const outside = folder({ 'secret.png': samples[0].image });
  const table = (name: string) => `{"image":${JSON.stringify(name)},"text":"x"}\n`;
  const secret = join(outside, 'secret.png');
  for (const name of [
    `../${outside.split('/').at(-1)}/secret.png`,
    secret,
    'a/../../x.png',
    '..\\secret.png',
    'link.png',
    'linked/secret.png',
    'x\0.png',
    '',
    '.',
    'sub/..',
  ]) {
    const path = folder({ 'train.jsonl': table('ok.png') + table(name), 'ok.png': samples[0].image });
    mkdirSync(join(path, 'sub'));
    symlinkSync(secret, join(path, 'link.png'));
    symlinkSync(outside, join(path, 'linked'));
    await refuses(
      path,
      /train\.jsonl, line 2: .*(inside of the folder|leads out of the folder|can't be found)/,
    );
  }
  // What is changed into a link after the opening is not read either.
  const path = folder({
    'train.jsonl': table('a.png'),
    'a.png': samples[0].image,
    'b.png': samples[0].image,
  });
  symlinkSync(join(path, 'b.png'), join(path, 'c.png'));
  const dataset = await open(path);
  assert.ok((await dataset.image(0)).bytes.length > 0);
  renameSync(join(path, 'a.png'), join(path, 'old.png'));
  symlinkSync(secret, join(path, 'a.png'));
  await assert.rejects(async () => dataset.image(0), /leads out of the folder/);
  dataset.close();
  writeFileSync(join(path, 'train.jsonl'), table('c.png'));
  const linked = await open(path);
  assert.ok((await linked.image(0)).bytes.length > 0, 'a link inside of the folder is read');
  linked.close();
});

test('shards: keys to the first dot, what is incomplete is left out and said, what is wrong names the shard', async () => {
  const png = samples[0].image;
  const shard = (...members: [string, string | Uint8Array][]) =>
    join(folder({ 'a.tar': tar(...members.map(([name, content]) => ({ name, content }))) }), 'a.tar');
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const mixed = await open(
    shard(
      ['d/one.PNG', png],
      ['d/one.v1.json', '{"caption":"no"}'],
      ['d/one.json', '{"caption":"json"}'],
      ['d/one.txt', '文字\n'],
      ['README', 'no member'],
      ['.hidden', 'no member'],
      ['two.png', png],
      ['three.txt', 'x'],
      ['four.json', '{"title":"四"}'],
      ['four.png', png],
      ['four.cls', '3'],
    ),
    { warn },
  );
  assert.deepEqual(
    Array.from({ length: mixed.pairCount }, (_, i) => [mixed.caption(i).imageId, mixed.caption(i).text]),
    [
      ['a/d/one', '文字'],
      ['a/four', '四'],
    ],
  );
  assert.deepEqual(warnings.length, 1);
  assert.match(
    warnings[0],
    /a\.tar: 2 incomplete samples are left out \((two has no caption|three has no picture)\)/,
  );
  mixed.close();
  await refuses(
    shard(['a.png', png], ['a.txt', 'x'], ['b.png', png], ['b.txt', 'x'], ['a.json', '{}']),
    /key a occurs twice/,
  );
  await refuses(shard(['a.png', png], ['a.jpg', png], ['a.txt', 'x']), /sample a has two pictures/);
  const one = await open(shard(['a.png', png], ['a.jpg', png], ['a.txt', 'x']), {
    columns: { image: 'png' },
  });
  assert.deepEqual((await one.image(0)).bytes, png);
  one.close();
  for (const [json, message] of [
    ['{"caption":5}', /caption of a\/a: expected a caption.*found 5/],
    ['{"caption":["x","y"]}', /a list of 2 captions/],
    ['{"other":"x"}', /no column for the text.*there are other/],
    ['[', /expected a JSON object/],
    ['['.repeat(5000), /expected a JSON object/],
  ] as const) {
    const dataset = await open(shard(['a.png', png], ['a.json', json]));
    assert.throws(
      () => dataset.caption(0),
      (error) => error instanceof UserError && message.test(error.message),
    );
    dataset.close();
  }
  const good = readFileSync(shard(['a.png', png], ['a.txt', 'x']));
  await refuses(
    join(folder({ 'a.tar': good.subarray(0, 700) }), 'a.tar'),
    /a\.tar, offset 0: the archive is cut off/,
  );
  await refuses(folder({ 'a.tar.gz': gzipSync(good) }), /packed with gzip.*gunzip/);
  await refuses(join(root, 'none-{0..3}.tar'), /none-0\.tar: no such file \(one of 4/);
});

test('the index of a shard is kept, used again, and built anew when the archive changed or it is damaged', async () => {
  const directory = writeShards(fresh(), single.slice(0, 3), 10);
  const shard = join(directory, 'train-000000.tar');
  const stored = `${shard}.cnclip-index`;
  const expected = expectedPairs(single.slice(0, 3));
  const check = async () => {
    const dataset = await open(directory);
    assert.deepEqual(await pairsOf(dataset), expected);
    dataset.close();
  };
  await check();
  const bytes = readFileSync(stored);
  const damaged = [bytes.subarray(0, 20), bytes.subarray(0, -1), Buffer.from('junk'), Buffer.alloc(0)];
  for (let at = 0; at + 8 <= 48 + 6 * 24; at += 8) damaged.push(Buffer.from(bytes).fill(0xff, at, at + 8));
  for (const content of damaged) {
    writeFileSync(stored, content);
    await check();
  }
  assert.deepEqual(readFileSync(stored), bytes, 'the index was written anew');
  // An index that says another thing of the same archive is believed: it was not built again.
  const moved = Buffer.from(bytes);
  moved.writeDoubleLE(512 + 1, 48);
  writeFileSync(stored, moved);
  const dataset = await open(directory);
  assert.notDeepEqual((await dataset.pair(0)).image, expected[0][1]);
  dataset.close();
  utimesSync(shard, 1, 1);
  await check();
});

test('where no index can be written beside the shards, it is kept in the cache, and that is said', async () => {
  const directory = writeShards(fresh(), single.slice(0, 3), 10);
  mkdirSync(join(directory, 'train-000000.tar.cnclip-index'));
  const before = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = join(root, 'cache');
  try {
    const warnings: string[] = [];
    for (let i = 0; i < 2; i++)
      (await open(directory, { warn: (message) => warnings.push(message) })).close();
    assert.equal(warnings.length, 1, 'the second time it was found there');
    assert.match(warnings[0], /can't be written.*the index is kept as .*cache\/cn-clip\/index/);
  } finally {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
  }
});

test('Parquet: columns of bytes and text too; rows without caption are no pairs; what is missing is said', async () => {
  const file = (columnData: Parameters<typeof parquetWriteBuffer>[0]['columnData']) =>
    join(
      folder({ 'a.parquet': Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 2 })) }),
      'a.parquet',
    );
  const data = samples.slice(0, 5).map(({ image }) => image);
  const plain = file([
    { name: 'photo', data, type: 'BYTE_ARRAY' },
    { name: 'text', data: ['一', null, '三', '四', '五'], type: 'STRING' },
  ]);
  const warnings: string[] = [];
  const dataset = await open(plain, {
    columns: { image: 'photo' },
    warn: (message) => warnings.push(message),
  });
  assert.deepEqual(
    [
      dataset.imageCount,
      dataset.pairCount,
      dataset.imageId(4),
      [...dataset.pairImageRows],
      [...dataset.groups!],
    ],
    [5, 4, 'a/4', [0, 2, 3, 4], [0, 1, 3]],
  );
  assert.match(warnings.join(), /1 rows have no caption/);
  assert.deepEqual((await dataset.pair(3)).image, data[4]);
  dataset.close();
  await refuses(plain, /no column for the image: expected one of image, .* there are photo, text/);
  await refuses(plain, /no column for the text: expected "zh"/, { columns: { image: 'photo', text: 'zh' } });
  await refuses(
    file([
      { name: 'image', data: [1, 2] },
      { name: 'text', data: ['a', 'b'] },
    ]),
    /no column for the image/,
  );
  const holes = await open(
    file([
      { name: 'image', data: [null, data[0]], type: 'BYTE_ARRAY' },
      { name: 'text', data: ['a', 'b'] },
    ]),
  );
  await assert.rejects(async () => holes.image(0), /row 0: no picture/);
  holes.close();
  const directory = folder({ 'train-0.parquet': readFileSync(plain) });
  await refuses(directory, /found no \.parquet file of split "test"; there are train-0\.parquet/, {
    split: 'test',
    source: 'parquet',
  });
});

test('patterns stand for all that they can be', () => {
  assert.deepEqual(expandBraces('a-{08..11}.tar'), ['a-08.tar', 'a-09.tar', 'a-10.tar', 'a-11.tar']);
  assert.deepEqual(expandBraces('{x,y}/{0..1}'), ['x/0', 'x/1', 'y/0', 'y/1']);
  assert.deepEqual(expandBraces('plain'), ['plain']);
  assert.throws(() => expandBraces('{3..1}'), /runs backwards/);
  assert.throws(() => expandBraces('{0..9999999999}'), /more than 1000000/);
  assert.throws(() => expandBraces('{0..9999}{0..9999}'), /more than 1000000/);
});

test('of several processes each takes every count-th shard or pair: together all, none twice', async () => {
  for (const path of [writeShards(fresh(), single, 3), writeTsv(fresh(), single)]) {
    const seen: string[] = [];
    for (let index = 0; index < 3; index++) {
      const dataset = await open(path, { shard: { index, count: 3 } });
      seen.push(...(await pairsOf(dataset)).map(([text]) => text));
      if (dataset.groups !== undefined)
        assert.deepEqual([...dataset.groups], [0, 3, 6].slice(0, dataset.groups.length));
      dataset.close();
    }
    assert.deepEqual(seen.sort(), single.map(({ captions }) => captions[0]).sort());
  }
  await refuses(writeShards(fresh(), single, 10), /2 shards or row groups can't be divided among 3/, {
    shard: { index: 0, count: 3 },
  });
});

test('a mixture holds the pairs of its parts one after the other, with ids that differ', async () => {
  const [a, b] = [singly(samples.slice(0, 8)), samples.slice(5, 14)];
  const dataset = await openData(
    [
      { path: writeTsv(fresh(), a), weight: 1 },
      { path: writeParquet(join(folder({}), 'x.parquet'), b), weight: 2 },
      writeShards(fresh(), a, 3),
    ],
    { split: 'train', warn: noWarning },
  );
  const all = [...a, ...b, ...a];
  assert.deepEqual(await pairsOf(dataset), expectedPairs(all));
  assert.deepEqual([dataset.imageCount, dataset.textCount], [25, expectedPairs(all).length]);
  const imageIds = Array.from({ length: 25 }, (_, row) => dataset.imageId(row));
  assert.deepEqual([imageIds[0], imageIds[8], imageIds[17]], ['0/p0', '1/x/0', '2/train-000000/p0']);
  assert.equal(new Set(imageIds).size, 25);
  const texts = [...dataset.texts()];
  assert.equal(new Set(texts.map(({ textId }) => textId)).size, texts.length);
  texts.forEach(({ text, imageIds: [id] }, position) => {
    const caption = dataset.caption(position);
    assert.deepEqual(
      [caption.text, caption.imageId, caption.imageRow],
      [text, id, imageIds.indexOf(String(id))],
    );
  });
  const pool = new ImageWorkerPool(2, { source: dataset.imageSource, resolution: 8 });
  const { pixels } = await pool.load(Int32Array.of(6, 9, 23));
  assert.deepEqual(pixels.subarray(0, 192), pixels.subarray(384), 'the same picture from tsv and tar');
  await pool.close();
  dataset.close();
});
