import assert from 'node:assert/strict';
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDataset } from '../src/data/dataset.js';
import { keyOf } from '../src/data/keyTable.js';
import { openLineIndex } from '../src/data/lineIndex.js';
import { LineReader } from '../src/data/lineReader.js';
import { epochOrder } from '../src/data/sampler.js';
import { UserError } from '../src/errors.js';
import { deep } from './hostile.js';

const root = mkdtempSync(join(tmpdir(), 'cn-clip-dataset-'));
after(() => rmSync(root, { recursive: true }));
let directories = 0;

/** A new folder with the given files. */
function folder(files: Record<string, string | Uint8Array> = {}): string {
  const directory = join(root, String(directories++));
  mkdirSync(directory);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

/** A copy of the golden dataset: opening it writes index files. */
function golden(): string {
  const directory = folder();
  for (const name of ['train_imgs.tsv', 'train_texts.jsonl', 'valid_imgs.tsv', 'valid_texts.jsonl']) {
    copyFileSync(
      fileURLToPath(new URL(`../../tests/fixtures/dataset/${name}`, import.meta.url)),
      join(directory, name),
    );
  }
  return directory;
}

const noWarning = (message: string) => assert.fail(`unexpected warning: ${message}`);
const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n');

test('pairs, images and texts are those of the files', async () => {
  const directory = golden();
  for (const split of ['train', 'valid']) {
    const dataset = await openDataset(directory, { split, warn: noWarning });
    const images = lines(join(directory, `${split}_imgs.tsv`)).map((line) => line.split('\t'));
    const rowOf = new Map(images.map(([id], row) => [Number(id), row]));
    const texts = lines(join(directory, `${split}_texts.jsonl`)).map((line) => JSON.parse(line));
    const pairs = texts.flatMap(({ text_id, text, image_ids }) =>
      image_ids.map((imageId: number) => ({ imageRow: rowOf.get(imageId), imageId, textId: text_id, text })),
    );
    assert.ok(pairs.length > texts.length);
    assert.equal(dataset.pairCount, pairs.length);
    assert.deepEqual(
      Array.from(pairs, (_, i) => dataset.caption(i)),
      pairs,
    );
    assert.deepEqual(
      [...dataset.pairImageRows],
      pairs.map(({ imageRow }) => imageRow),
    );
    assert.equal(dataset.imageCount, images.length);
    for (const [row, [id, base64]] of images.entries()) {
      assert.equal(dataset.imageId(row), Number(id));
      assert.deepEqual((await dataset.image(row)).bytes, Buffer.from(base64, 'base64'));
    }
    const { imageRow, ...last } = pairs[pairs.length - 1];
    const image = Buffer.from(images[imageRow!][1], 'base64');
    assert.deepEqual(await dataset.pair(dataset.length - 1), { ...last, image });
    assert.equal(dataset.textCount, texts.length);
    assert.equal(dataset.unpairedTextCount, 0);
    assert.deepEqual(
      [...dataset.texts()],
      texts.map(({ text_id, text, image_ids }) => ({ textId: text_id, text, imageIds: image_ids })),
    );
    dataset.close();
  }
});

test('string ids, url-safe base64, CRLF, texts without images and a last line without its end', async () => {
  const bytes = Buffer.of(0xfb, 0xef, 0xff, 0x3e, 0x3f);
  const directory = folder({
    'x_imgs.tsv': `007\t${bytes.toString('base64url')}\r\n猫\t${bytes.toString('base64')}`,
    'x_texts.jsonl':
      '{"text_id":"a","text":"黑“猫”","image_ids":["猫","007"],"more":1}\r\n{"text_id":2,"text":"","image_ids":[]}',
  });
  const dataset = await openDataset(directory, { split: 'x', warn: noWarning });
  assert.deepEqual(
    [dataset.pairCount, dataset.imageCount, dataset.textCount, dataset.unpairedTextCount],
    [2, 2, 2, 1],
  );
  assert.deepEqual(dataset.caption(0), { imageRow: 1, imageId: '猫', textId: 'a', text: '黑“猫”' });
  assert.equal(dataset.caption(1).imageId, '007');
  assert.deepEqual([(await dataset.image(0)).bytes, (await dataset.image(1)).bytes], [bytes, bytes]);
  dataset.close();
});

test('image ids stay text where a number would not be the same id', async () => {
  const directory = folder({
    'x_imgs.tsv': '12\tAAAA\n012\tAAAA\n9007199254740993\tAAAA\n',
    'x_texts.jsonl': '{"text_id":1,"text":"","image_ids":[12]}\n',
  });
  const dataset = await openDataset(directory, { split: 'x', warn: noWarning });
  assert.deepEqual(
    [dataset.imageId(0), dataset.imageId(1), dataset.imageId(2)],
    [12, '012', '9007199254740993'],
  );
  dataset.close();
});

test('a mistake in a dataset is one error with file and line', async (t) => {
  const image = (id: string) => `${id}\tAAAA\n`;
  const text = (id: unknown, imageIds: unknown, text: unknown = '猫') =>
    `${JSON.stringify({ text_id: id, text, image_ids: imageIds })}\n`;
  const cases: [string, string, string, RegExp][] = [
    ['tsv line without TAB', `${image('1')}2`, text(1, [1]), /x_imgs\.tsv, line 2: no TAB/],
    ['tsv line without id', image('1') + image(''), text(1, [1]), /x_imgs\.tsv, line 2: no TAB/],
    ['empty tsv line', `${image('1')}\n${image('2')}`, text(1, [1]), /x_imgs\.tsv, line 2: no TAB/],
    ['id that never ends', image('1') + '2'.repeat(5000), text(1, [1]), /x_imgs\.tsv, line 2: no TAB/],
    [
      'image id twice',
      image('1') + image('2') + image('1'),
      text(1, [1]),
      /x_imgs\.tsv, line 3: image 1 .* line 1/,
    ],
    ['empty tsv', '', text(1, [1]), /x_imgs\.tsv: the file is empty/],
    ['empty jsonl', image('1'), '', /x_texts\.jsonl: the file is empty/],
    [
      'bad JSON',
      image('1'),
      `${text(1, [1])}{"text_id": 2, "te\n`,
      /x_texts\.jsonl, line 2: expected one JSON object/,
    ],
    ['empty jsonl line', image('1'), `${text(1, [1])}\n${text(2, [1])}`, /line 2: .*the line is empty/],
    ['JSON that is no object', image('1'), '[1]\n', /line 1: expected one JSON object, found a list/],
    ['null', image('1'), 'null\n', /line 1: expected one JSON object, found null/],
    ['no text_id', image('1'), '{"text":"a","image_ids":[]}\n', /line 1: expected "text_id".*found nothing/],
    ['no text', image('1'), '{"text_id":1,"image_ids":[]}\n', /line 1: expected "text"/],
    ['no image_ids', image('1'), '{"text_id":1,"text":"a"}\n', /line 1: expected "image_ids"/],
    ['text that is no string', image('1'), text(1, [1], 5), /line 1: expected "text", a string; found 5/],
    ['image_ids that is no list', image('1'), text(1, 1), /line 1: expected "image_ids"/],
    ['image id that is an object', image('1'), text(1, [{}]), /line 1: expected each of "image_ids"/],
    [
      'id beyond exact numbers',
      image('1'),
      '{"text_id":9007199254740993,"text":"a","image_ids":[]}\n',
      /line 1: expected "text_id"/,
    ],
    [
      'deep nesting',
      image('1'),
      `{"text_id":1,"text":"","image_ids":[${deep(100_000)}]}\n`,
      /line 1: .*found a list/,
    ],
    [
      'deep nesting as an id',
      image('1'),
      `{"text_id":${deep(100_000)}}\n`,
      /line 1: .*"text_id".*found a list/,
    ],
    ['nesting that never ends', image('1'), '['.repeat(1e6), /line 1: expected one JSON object/],
    ['an id that is very long', image('1'), text('x'.repeat(1e6), [1]), /line 1: expected "text_id"/],
    ['an image id that is very long', image('1'), text(1, ['x'.repeat(1e6)]), /line 1: expected each of/],
    [
      'a line of the prototype',
      image('1'),
      '{"__proto__":{"text_id":1,"text":"","image_ids":[]}}\n',
      /found nothing/,
    ],
    [
      'control characters in an id',
      image('\x1b[2J') + image('\x1b[2J'),
      text(1, []),
      /image \ufffd\[2J occurred/,
    ],
    ['zeros', '\0'.repeat(5000), text(1, [1]), /x_imgs\.tsv, line 1: no TAB/],
    ['text_id twice', image('1'), text(1, [1]) + text(1, [1]), /x_texts\.jsonl, line 2: text_id 1 occurred/],
    [
      'unknown image',
      image('1'),
      text(1, [1]) + text(2, [1, 3]),
      /x_texts\.jsonl, line 2: image 3 is not in .*x_imgs\.tsv/,
    ],
  ];
  for (const [name, tsv, jsonl, message] of cases) {
    await t.test(name, async () => {
      const directory = folder({ 'x_imgs.tsv': tsv, 'x_texts.jsonl': jsonl });
      await assert.rejects(
        openDataset(directory, { split: 'x', warn: noWarning }),
        (error) => error instanceof UserError && message.test(error.message) && error.message.length < 1000,
      );
    });
  }
  await t.test('text that is no UTF-8', async () => {
    const jsonl = Buffer.from('{"text_id":1,"text":"\xff","image_ids":[]}\n', 'latin1');
    const directory = folder({ 'x_imgs.tsv': image('1'), 'x_texts.jsonl': jsonl });
    await assert.rejects(
      openDataset(directory, { split: 'x', warn: noWarning }),
      /line 1: expected one JSON object/,
    );
  });
  await t.test('damaged base64', async () => {
    for (const base64 of ['AA*A', 'AAAA=AAAA', '', 'AAAAA']) {
      const directory = folder({ 'x_imgs.tsv': `7\t${base64}\n`, 'x_texts.jsonl': text(1, [7]) });
      const dataset = await openDataset(directory, { split: 'x', warn: noWarning });
      await assert.rejects(async () => dataset.image(0), /x_imgs\.tsv, line 1, image 7: .*base64/, base64);
      dataset.close();
    }
  });
});

test('a missing split names those that are there', async () => {
  const directory = golden();
  rmSync(join(directory, 'valid_texts.jsonl'));
  await assert.rejects(
    openDataset(directory, { split: 'test' }),
    /no test_imgs\.tsv and no test_texts\.jsonl; its splits are train$/,
  );
  await assert.rejects(
    openDataset(directory, { split: 'valid' }),
    /no valid_texts\.jsonl; its splits are train$/,
  );
  await assert.rejects(
    openDataset(join(directory, 'missing')),
    /missing: the dataset's folder can't be read/,
  );
  await assert.rejects(openDataset(directory, { split: '../train' }), /not a path/);
});

test('the line index is kept, used again, and rebuilt when the file changed', () => {
  const directory = folder({ 'a.tsv': '1\tx\n22\ty\n' });
  const path = join(directory, 'a.tsv');
  const stored = `${path}.cnclip-index`;
  const summary = (keyed: boolean) => {
    const index = openLineIndex(path, keyed, noWarning);
    const keys = Array.from({ length: keyed ? index.lineCount : 0 }, (_, line) => keyOf(index, line));
    return { lineCount: index.lineCount, starts: [...index.starts], keys };
  };
  const built = summary(true);
  assert.deepEqual(built, { lineCount: 2, starts: [0, 4, 9], keys: ['1', '22'] });
  const bytes = readFileSync(stored);
  const inode = statSync(stored).ino;
  assert.deepEqual(summary(true), built);
  assert.equal(statSync(stored).ino, inode, 'the stored index was used');
  assert.deepEqual(summary(false).keys, [], 'an index of another kind does not fit');

  const damaged: Uint8Array[] = [
    bytes.subarray(0, 30),
    bytes.subarray(0, -1),
    Buffer.concat([bytes, bytes]),
    Buffer.from('junk'),
  ];
  for (const at of [0, 8, 16, 24, 32, 40, 48]) damaged.push(Buffer.from(bytes).fill(0xff, at, at + 8));
  // Offsets that fall, or leave the file.
  for (const [at, value] of [
    [64, 1e9],
    [64, -1],
    [64, Number.NaN],
    [72, 8],
    [80, 5],
  ]) {
    const copy = Buffer.from(bytes);
    copy.writeDoubleLE(value, at);
    damaged.push(copy);
  }
  for (const content of damaged) {
    writeFileSync(stored, content);
    assert.deepEqual(summary(true), built);
    assert.deepEqual(readFileSync(stored), bytes, 'the index was written anew');
  }
  writeFileSync(path, '1\tx\n22\ty\n333\tz');
  assert.deepEqual(summary(true), { lineCount: 3, starts: [0, 4, 9, 14], keys: ['1', '22', '333'] });
});

test('the pairs are kept, used again, and joined anew when a file changed or the index is damaged', async () => {
  const directory = golden();
  const kept = join(directory, 'train_texts.jsonl.cnclip-pairs');
  const open = async () => {
    const dataset = await openDataset(directory, { warn: noWarning });
    const { pairImageRows, pairTextRows, unpairedTextCount } = dataset;
    const id = dataset.imageId(3);
    dataset.close();
    return { pairImageRows, pairTextRows, unpairedTextCount, id };
  };
  const first = await open();
  const bytes = readFileSync(kept);
  const inode = statSync(kept).ino;
  assert.deepEqual(await open(), first);
  assert.equal(statSync(kept).ino, inode, 'the kept pairs were used');
  const damaged: Buffer[] = [bytes.subarray(0, 50), bytes.subarray(0, -1), Buffer.concat([bytes, bytes])];
  // Numbers of the header, an image row and a text row that do not exist.
  for (let at = 0; at < 64; at += 8) damaged.push(Buffer.from(bytes).fill(0xff, at, at + 8));
  for (const at of [72, bytes.length - 4]) {
    for (const row of [-1, 400, 2 ** 31 - 1]) {
      const copy = Buffer.from(bytes);
      copy.writeInt32LE(row, at);
      damaged.push(copy);
    }
  }
  for (const content of damaged) {
    writeFileSync(kept, content);
    assert.deepEqual(await open(), first);
    assert.deepEqual(readFileSync(kept), bytes, 'they were written anew');
  }
  appendFileSync(join(directory, 'train_texts.jsonl'), '{"text_id":1,"text":"x","image_ids":[1000]}\n');
  assert.equal((await open()).pairImageRows.length, first.pairImageRows.length + 1);
  appendFileSync(join(directory, 'train_imgs.tsv'), '1000\tAAAA\n');
  await assert.rejects(open(), /line 401: image 1000 occurred before, in line 1/);
});

test('where the index can not be written, that is said and work goes on', async () => {
  const directory = golden();
  mkdirSync(join(directory, 'train_imgs.tsv.cnclip-index'));
  const warnings: string[] = [];
  const dataset = await openDataset(directory, { warn: (message) => warnings.push(message) });
  assert.equal(dataset.imageCount, 400);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /train_imgs\.tsv\.cnclip-index can't be written/);
  dataset.close();
});

test('lines of any length are indexed across reads of the file', () => {
  const chunk = 4 << 20;
  // Keys that start just before, at and after the end of the first read, and a line longer than a read.
  for (const first of [chunk - 1, chunk - 5, chunk, chunk + 1, chunk - 1500, 2 * chunk + 7]) {
    const wanted = [
      `a\t${'x'.repeat(first - 3)}`,
      '12345\ty',
      `b\t${'z'.repeat(chunk + 3)}`,
      `c${'d'.repeat(1000)}\t`,
    ];
    const directory = folder({ 'a.tsv': wanted.join('\n') });
    const path = join(directory, 'a.tsv');
    const index = openLineIndex(path, true, noWarning);
    assert.deepEqual(
      [0, 1, 2, 3].map((line) => keyOf(index, line)),
      wanted.map((line) => line.split('\t')[0]),
    );
    const reader = new LineReader(path, index.starts);
    assert.deepEqual(
      Array.from(wanted, (_, line) => reader.read(line).toString()),
      wanted,
    );
    assert.deepEqual(Array.from(reader.readAll(), String), wanted);
    reader.close();
    rmSync(directory, { recursive: true });
  }
});

test('a line above the limit is an error, not an allocation', () => {
  const path = join(folder({ 'a.tsv': 'a' }), 'a.tsv');
  const reader = new LineReader(path, Float64Array.of(0, 2 ** 40));
  assert.throws(() => reader.read(0), /a\.tsv, line 1: longer than 64 MiB/);
  assert.throws(() => [...reader.readAll()], /longer than 64 MiB/);
  reader.close();
});

test('an epoch pads from the start to whole batches and shuffles by seed and epoch', () => {
  assert.deepEqual([...epochOrder(5, 4, 0, 0, false)], [0, 1, 2, 3, 4, 0, 1, 2]);
  assert.deepEqual([...epochOrder(2, 5, 0, 0, false)], [0, 1, 0, 1, 0]);
  assert.equal(epochOrder(6, 3, 0, 0, false).length, 6);
  const shuffled = epochOrder(101, 10, 3, 1, true);
  assert.equal(shuffled.length, 110);
  assert.deepEqual(
    [...shuffled].sort((a, b) => a - b),
    [...epochOrder(101, 10, 3, 1, false)].sort((a, b) => a - b),
  );
  assert.deepEqual(epochOrder(101, 10, 3, 1, true), shuffled);
  assert.notDeepEqual(epochOrder(101, 10, 3, 2, true), shuffled);
  assert.notDeepEqual(epochOrder(101, 10, 4, 1, true), shuffled);
});
