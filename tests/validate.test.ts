import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertDataset } from '../src/data/convert.js';
import { openDataset } from '../src/data/dataset.js';
import { Problems } from '../src/data/problems.js';
import { datasetContent } from '../src/data/splitContent.js';
import { validateSplit } from '../src/data/validate.js';
import { type DatasetReport, validateDataset } from '../src/data/validateDataset.js';
import { UserError } from '../src/errors.js';
import { Tokenizer } from '../src/text/tokenizer.js';
import { runCli } from './runCli.js';
import { fixture, readJson, temporaryDirectory } from './support.js';

const root = temporaryDirectory();
let folders = 0;

function folder(files: Record<string, string | Uint8Array>): string {
  const directory = join(root, String(folders++));
  mkdirSync(directory);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

/** The golden dataset, in a folder that may be written to. */
function golden(): string {
  const directory = folder({});
  for (const name of ['train_imgs.tsv', 'train_texts.jsonl', 'valid_imgs.tsv', 'valid_texts.jsonl']) {
    copyFileSync(fixture('dataset', name), join(directory, name));
  }
  return directory;
}

const tokenizer = new Tokenizer(['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一二三四五六七八九十']);
const options = { tokenizer, contextLength: 8, workers: 1, decode: true };
const pictures = readFileSync(fixture('dataset', 'valid_imgs.tsv'), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => line.split('\t')[1]);
const text = (id: unknown, text: unknown, images: unknown) =>
  JSON.stringify({ text_id: id, text, image_ids: images });

/** Problems of the one split "x", by kind. */
async function problemsOf(tsv: string, jsonl: string | Uint8Array, changes = {}) {
  const directory = folder({ 'x_imgs.tsv': tsv, 'x_texts.jsonl': jsonl });
  const report = await validateDataset(directory, { ...options, ...changes });
  assert.equal(report.splits.length, 1);
  const found = report.splits[0].problems.map(({ kind, listed }) => [
    kind,
    listed.map((message) => message.replaceAll(`${directory}/`, '')),
  ]);
  return { directory, report, found: Object.fromEntries(found) as Record<string, string[]> };
}

test('the golden dataset is clean, and counted as its files say', async () => {
  const seen: string[] = [];
  const { isClean, splits } = await validateDataset(golden(), {
    ...options,
    onProgress: (split, done, total) => seen.push(`${split} ${done}/${total}`),
  });
  assert.ok(isClean);
  assert.deepEqual(
    splits.map(({ split, source, images, texts, pairs }) => ({ split, source, images, texts, pairs })),
    [
      { split: 'train', source: 'tsv', images: 400, texts: 400, pairs: 534 },
      { split: 'valid', source: 'tsv', images: 32, texts: 32, pairs: 43 },
    ],
  );
  for (const { textsPerImage, tokenLengths, images, texts, pairs, problems } of splits) {
    const sum = (histogram: [number, number][], weight: (value: number) => number) =>
      histogram.reduce((total, [value, number]) => total + number * weight(value), 0);
    assert.equal(
      sum(textsPerImage, () => 1),
      images,
    );
    assert.equal(
      sum(textsPerImage, (value) => value),
      pairs,
    );
    assert.equal(
      sum(tokenLengths!, () => 1),
      texts,
    );
    assert.ok(problems.every(({ severity }) => severity === 'remark'));
  }
  assert.ok(seen.includes('train 400/400') && seen.includes('valid 32/32'));
});

test('every kind of problem is found in one pass, with file and line', async () => {
  const [a, b, c] = pictures;
  const tsv = [
    `1\t${a}`,
    'no tab',
    `2\t${b}`,
    `1\t${c}`,
    '3\t*damaged*',
    `4\t${b.slice(0, 80)}`,
    `5\t${a}`,
    '',
    `六\t${c}\r`,
  ].join('\n');
  const jsonl = [
    text(1, '一二三', [1, 2]),
    '{"text_id": 2, "te',
    text(3, '一“二”', [3, 99, 4]),
    text(1, '一"二"', [2, 2]),
    text('1', '一二三四五六七八', ['六']),
    text(6, ' ', []),
    '',
    text(7, 5, [1]),
    text(8, '一二三四五六', [1, 98]),
  ].join('\n');
  const { report, found } = await problemsOf(tsv, jsonl);
  assert.equal(report.isClean, false);
  const [images, texts] = ['x_imgs.tsv, line', 'x_texts.jsonl, line'];
  assert.deepEqual(Object.keys(found).sort(), [
    'cutText',
    'emptyText',
    'imageId',
    'imageLine',
    'imageWithoutText',
    'join',
    'picture',
    'samePair',
    'samePicture',
    'sameText',
    'textId',
    'textLine',
    'textWithoutImage',
  ]);
  const places = (messages: string[]) => messages.map((message) => message.split(':')[0]);
  assert.deepEqual(places(found.imageLine), [`${images} 2`, `${images} 8`]);
  assert.deepEqual(found.imageId, [`${images} 4: image 1 occurred before, in ${images} 1`]);
  assert.deepEqual(places(found.picture), [`${images} 5, image 3`, `${images} 6, image 4`]);
  assert.deepEqual(found.samePicture, [
    `${images} 7: the same bytes as in ${images} 1`,
    `${images} 9: the same bytes as in ${images} 4`,
  ]);
  assert.deepEqual(places(found.textLine), [`${texts} 2`, `${texts} 7`, `${texts} 8`]);
  assert.deepEqual(found.textId, [`${texts} 4: text 1 occurred before, in ${texts} 1`]);
  assert.deepEqual(found.join, [
    `${texts} 3: image 99 of text 3 is not there`,
    `${texts} 9: image 98 of text 8 is not there`,
  ]);
  assert.deepEqual(found.samePair, [`${texts} 4: text 1 names image 2 twice`]);
  assert.deepEqual(found.sameText, [`${texts} 4: text 1 is the same as in ${texts} 3`]);
  assert.deepEqual(found.cutText, [`${texts} 5: text 1 has 10 tokens, 8 are kept`]);
  assert.deepEqual(found.emptyText, [`${texts} 6: text 6`]);
  assert.deepEqual(found.textWithoutImage, [`${texts} 6: text 6`]);
  assert.deepEqual(found.imageWithoutText, [
    `${images} 4: no text names the image`,
    `${images} 7: no text names the image`,
  ]);
  const [{ pairs, textsPerImage, tokenLengths }] = report.splits;
  assert.equal(pairs, 2 + 2 + 2 + 1 + 1);
  assert.deepEqual(textsPerImage, [
    [0, 4],
    [1, 3],
    [2, 1],
    [3, 1],
  ]);
  assert.deepEqual(tokenLengths, [
    [2, 1],
    [5, 1],
    [6, 2],
    [8, 1],
    [10, 1],
  ]);
});

test('without decoding a truncated picture passes, damaged base64 does not', async () => {
  const jsonl = `${text(1, '一', [1, 2])}\n`;
  const { found } = await problemsOf(`1\t*\n2\t${pictures[0].slice(0, 80)}\n`, jsonl, { decode: false });
  assert.deepEqual(Object.keys(found), ['picture']);
  assert.match(found.picture.join(), /^x_imgs\.tsv, line 1, image 1: .*base64.* is damaged/);
});

test('what opening a dataset refuses is unclean, and what it takes is clean', async (t) => {
  const image = `1\t${pictures[0]}\n`;
  const line = `${text(1, '一', [1])}\n`;
  const cases: [string, string, string | Uint8Array][] = [
    ['nothing wrong', image, line],
    ['string and number as text ids', image, `${line}${text('1', '二', [1])}\n`],
    ['number and string as the same image id', image, `${text(1, '一', ['1'])}\n`],
    ['no TAB', `${image}2`, line],
    ['no id', `${image}\t${pictures[1]}`, line],
    ['endless id', image + '2'.repeat(5000), line],
    ['image id twice', image + image, line],
    ['empty tsv', '', line],
    ['empty jsonl', image, ''],
    ['no JSON', image, `${line}{`],
    ['null', image, 'null\n'],
    ['no text', image, '{"text_id":1,"image_ids":[]}\n'],
    ['text id beyond exact numbers', image, '{"text_id":9007199254740993,"text":"a","image_ids":[]}\n'],
    ['text id twice', image, line + line],
    ['unknown image', image, `${text(1, '一', [1, 3])}\n`],
    ['no UTF-8', image, Buffer.from('{"text_id":1,"text":"\xff","image_ids":[]}\n', 'latin1')],
  ];
  for (const [name, tsv, jsonl] of cases) {
    await t.test(name, async () => {
      const { directory, report } = await problemsOf(tsv, jsonl);
      const opens = await openDataset(directory, { split: 'x' }).then(
        (dataset) => dataset.close() ?? true,
        (error) => {
          assert.ok(error instanceof UserError);
          return false;
        },
      );
      assert.equal(report.isClean, opens);
    });
  }
});

test('an incomplete split is checked as far as it goes, beside the others', async () => {
  const directory = golden();
  writeFileSync(join(directory, 'left_imgs.tsv'), `1\t${pictures[0]}\n2\t*\n`);
  writeFileSync(join(directory, 'right_texts.jsonl'), `${text(1, '一', [7])}\n{\n`);
  const { splits } = await validateDataset(directory, options);
  const kinds = splits.map(({ split, problems }) => [
    split,
    ...problems.filter(({ severity }) => severity === 'error').map(({ kind, count }) => `${kind} ${count}`),
  ]);
  assert.deepEqual(kinds, [
    ['left', 'files 1', 'picture 1'],
    ['right', 'files 1', 'textLine 1'],
    ['train'],
    ['valid'],
  ]);
  const only = await validateDataset(directory, { ...options, split: 'valid' });
  assert.deepEqual(
    only.splits.map(({ split }) => split),
    ['valid'],
  );
  await assert.rejects(validateDataset(folder({}), options), /no split is found/);
  await assert.rejects(validateDataset(join(root, 'nowhere'), options), /nowhere: no split is found/);
});

test('through the interface of all sources the same is counted', async () => {
  const directory = golden();
  const dataset = await openDataset(directory, { split: 'train' });
  const throughInterface = await validateSplit(datasetContent(dataset), { ...options, onProgress: () => {} });
  const { splits } = await validateDataset(directory, { ...options, split: 'train' });
  const counts = ({ problems, ...others }: Pick<DatasetReport['splits'][0], 'problems'>) => ({
    ...others,
    problems: problems.map(({ kind, count }) => [kind, count]),
  });
  const { split: _, source: __, ...report } = splits[0];
  assert.deepEqual(counts(throughInterface), counts(report));
  dataset.close();
});

test('another source is checked once it is open; what keeps it from opening is a problem', async () => {
  const lmdb = join(root, 'lmdb-dataset');
  const reporter = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };
  await convertDataset(golden(), lmdb, {
    to: 'lmdb',
    splits: ['train', 'valid'],
    source: undefined,
    reporter,
  });
  const summary = ({ splits }: DatasetReport) =>
    splits.map(({ split, source, images, pairs, isClean }) => [split, source, images, pairs, isClean]);
  assert.deepEqual(summary(await validateDataset(lmdb, options)), [
    ['train', 'lmdb', 400, 534, true],
    ['valid', 'lmdb', 32, 43, true],
  ]);
  // The folder of one split.
  const one = join(lmdb, 'lmdb', 'valid');
  assert.deepEqual(summary(await validateDataset(one, options)), [['valid', 'lmdb', 32, 43, true]]);
  writeFileSync(join(one, 'pairs', 'data.mdb'), 'no LMDB');
  const [damaged] = (await validateDataset(one, options)).splits;
  assert.deepEqual(
    damaged.problems.map(({ kind, count }) => [kind, count]),
    [['files', 1]],
  );
  assert.match(damaged.problems[0].listed[0], /data\.mdb/);
});

test('of very many problems the first are kept, and all are counted', () => {
  const problems = new Problems();
  for (let i = 0; i < 5000; i++) problems.add('cutText', `line ${i}`);
  const [list] = problems.lists();
  assert.deepEqual([list.count, list.listed.length, list.listed.at(-1)], [5000, 1000, 'line 999']);
  assert.ok(problems.isClean);
  problems.add('join', 'line 7');
  assert.ok(!problems.isClean);
  assert.equal(problems.lists()[0].kind, 'join', 'errors come first');
});

test('the command shows a part, writes all to JSON, and its exit code tells whether it is clean', async () => {
  const directory = golden();
  const clean = await runCli(['data', 'validate', directory, '--split', 'valid']);
  assert.equal(clean.code, 0, clean.stderr);
  assert.match(clean.stdout, /tokens are not counted/);
  assert.match(clean.stdout, /valid +32 +32 +43 +0 +0/);
  const lines = readFileSync(join(directory, 'train_imgs.tsv'), 'utf8').split('\n');
  for (const row of [1, 5, 7, 300]) lines[row] = `${lines[row].split('\t')[0]}\tAAAA`;
  writeFileSync(join(directory, 'train_imgs.tsv'), lines.join('\n'));
  writeFileSync(join(directory, 'vocab.txt'), tokenizer.vocabulary.join('\n'));
  const json = join(root, 'report.json');
  const unclean = await runCli(['data', 'validate', directory, '--shown', '2', '--json', json]);
  assert.equal(unclean.code, 1);
  assert.equal(unclean.stderr, '');
  assert.match(
    unclean.stdout,
    /error: broken pictures: 4\n.*line 2, image.*\n.*line 6, image.*\n +… and 2 more/,
  );
  assert.match(unclean.stdout, /is not clean/);
  const report = readJson<DatasetReport>(json);
  assert.deepEqual([report.isClean, report.splits.map(({ isClean }) => isClean)], [false, [false, true]]);
  const broken = report.splits[0].problems.find(({ kind }) => kind === 'picture')!;
  assert.deepEqual(
    broken.listed.map((message) => Number(/line (\d+)/.exec(message)?.[1])),
    [2, 6, 8, 301],
  );
});
