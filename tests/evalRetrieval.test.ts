import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { evalCommand } from '../src/cli/eval.js';
import { evalRetrievalCommand } from '../src/cli/evalRetrieval.js';
import { openDataset } from '../src/data/dataset.js';
import { encodeTexts } from '../src/eval/encode.js';
import { readFeatures } from '../src/eval/files.js';
import { normalize } from '../src/eval/ranking.js';
import { publishedRecall } from '../src/eval/retrievalBenchmarks.js';
import type { RetrievalSummary } from '../src/eval/retrievalSummary.js';
import { writeNpy } from '../src/io/npy.js';
import { loadModelConfig } from '../src/model/config.js';
import { createModel } from '../src/model/load.js';
import { prepareText, Tokenizer } from '../src/text/tokenizer.js';
import { buildVocabulary } from '../src/text/vocabulary.js';
import { runCli } from './runCli.js';
import { fixture, maxDifference, onnx, readJson, temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
const golden = (name: string) => fixture('retrieval', name);

function write(path: string, content: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const lines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

function evalRetrieval(...args: string[]): Promise<unknown> {
  return evalRetrievalCommand().parseAsync(args, { from: 'user' });
}

async function refuses(args: string[], message: RegExp): Promise<void> {
  await assert.rejects(evalRetrieval(...args), { name: 'UserError', message });
}

/** A picture of one colour as a line of a tsv file. */
async function pictureLine(id: number): Promise<string> {
  const background = { r: (id * 37) % 256, g: (id * 91) % 256, b: (id * 53) % 256 };
  const image = sharp({ create: { width: 8, height: 8, channels: 3, background } });
  return `${id}\t${(await image.png().toBuffer()).toString('base64')}\n`;
}

// Folders as the reference's zips unpack: 12 pictures, 24 texts.
const data = join(folder, 'datasets');
const pictures = (await Promise.all(Array.from({ length: 12 }, (_, id) => pictureLine(id)))).join('');
const texts = Array.from({ length: 24 }, (_, i) => ({
  text_id: i,
  text: `第${i}张图${'很'.repeat((i * 7) % 20)}大`,
  image_ids: [i % 12],
}));
for (const [name, split] of [
  ['MUGE', 'valid'],
  ['MUGE', 'test'],
  ['Flickr30K-CN', 'test'],
]) {
  write(join(data, name, `${split}_imgs.tsv`), pictures);
  const isBlind = name === 'MUGE' && split === 'test';
  const annotated = texts.map((text) => (isBlind ? { ...text, image_ids: [] } : text));
  write(join(data, name, `${split}_texts.jsonl`), lines(annotated));
}
const vocabulary = buildVocabulary(
  texts.map(({ text }) => text),
  { maxSize: 300, minFrequency: 1 },
);
const config = loadModelConfig('tiny', { vocabSize: vocabulary.length });
for (const [i, name] of ['first', 'second'].entries()) {
  const model = createModel(config, onnx, i);
  writeCheckpoint(join(folder, name), { weights: model.tensors, config, vocabulary });
  await model.dispose();
}
const first = join(folder, 'first');
const second = join(folder, 'second');

const goldenFiles = [
  ...['--image-features', golden('imgs.img_feat.jsonl'), '--text-features', golden('texts.txt_feat.jsonl')],
  ...['--annotations', golden('texts.jsonl')],
];

test('feature files: predictions and scores are those of the reference, from jsonl and from npy', async () => {
  const out = join(folder, 'golden');
  await evalRetrieval(...goldenFiles, '--out', out);
  const npy = ['image', 'text'].map((what) => {
    const path = what === 'image' ? golden('imgs.img_feat.jsonl') : golden('texts.txt_feat.jsonl');
    const { ids, features, dimension } = readFeatures(path, what === 'image' ? 'image_id' : 'text_id');
    const file = join(folder, `${what}.npy`);
    writeNpy(file, features, [ids.length, dimension]);
    write(join(folder, `${what}.ids.jsonl`), lines(ids.map((id) => ({ [`${what}_id`]: id }))));
    return file;
  });
  const again = join(folder, 'golden-npy');
  await evalRetrieval(
    ...['--image-features', npy[0], '--text-features', npy[1], '--annotations', golden('texts.jsonl')],
    ...['--out', again],
  );
  for (const written of [out, again]) {
    const files = ['t2i_predictions.jsonl', 'i2t_predictions.jsonl', 't2i_score.json', 'i2t_score.json'];
    for (const name of files) {
      assert.equal(readFileSync(join(written, name), 'utf8'), readFileSync(golden(name), 'utf8'), name);
    }
    const scores = readJson<RetrievalSummary>(join(written, 'scores.json'));
    for (const [direction, name] of [
      ['textToImage', 't2i'],
      ['imageToText', 'i2t'],
    ] as const) {
      const { scoreJson } = readJson<{ scoreJson: Record<string, number> }>(golden(`${name}_score.json`));
      const { r1, r5, r10, meanRecall, intervals } = scores[direction];
      assert.deepEqual({ mean_recall: meanRecall, r1, r5, r10, score: meanRecall }, scoreJson);
      assert.ok(intervals.r1.low <= r1 && r1 <= intervals.r1.high && intervals.r1.low < intervals.r1.high);
    }
  }
  const report = readFileSync(join(out, 'report.html'), 'utf8');
  assert.match(report, /95 % interval/);
  assert.doesNotMatch(report, /(src|href)="(?!data:|#)/);
});

test('several models and datasets make one table; each evaluation has its folder and report', async () => {
  const out = join(folder, 'several');
  const { code, stdout, stderr } = await runCli([
    ...['eval-retrieval', '--dataset', 'muge,flickr30k-cn', '--data', data, '--model', `${first},${second}`],
    ...['--published', 'ViT-B-16', '--out', out],
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /towers \d+\.\d %/);
  assert.match(stdout, /muge valid .*text→image +\d+\.\d\d/);
  assert.match(stdout, /published ViT-B-16, zero-shot +52\.1 +76\.7 +84\.4 +71\.1/);
  const summaries = readJson<RetrievalSummary[]>(join(out, 'table.json'));
  assert.deepEqual(
    summaries.map(({ dataset, model, split }) => [dataset, model, split]),
    [
      ['muge', first, 'valid'],
      ['muge', second, 'valid'],
      ['flickr30k-cn', first, 'test'],
      ['flickr30k-cn', second, 'test'],
    ],
  );
  assert.deepEqual(summaries[0].textToImage.published, { r1: 52.1, r5: 76.7, r10: 84.4, meanRecall: 71.1 });
  assert.equal(summaries[0].imageToText.published, undefined);
  assert.deepEqual(summaries[2].imageToText.published, { r1: 74.6, r5: 93.5, r10: 97.1 });
  assert.equal(summaries[0].comparison, undefined);
  const [a, b] = [summaries[2], summaries[3]];
  const { r1 } = b.comparison!.textToImage;
  assert.equal(b.comparison?.against, first);
  assert.ok(Math.abs(100 * r1.difference - (b.textToImage.r1 - a.textToImage.r1)) < 1e-9);
  assert.equal(r1.onlyFirst - r1.onlySecond, Math.round((24 * (b.textToImage.r1 - a.textToImage.r1)) / 100));
  const markdown = readFileSync(join(out, 'table.md'), 'utf8').trimEnd().split('\n');
  assert.equal(new Set(markdown.map((line) => line.split('|').length)).size, 1);
  // A head and its rule; result, interval and chance in both directions, published and difference in three of four,
  // the other model's three rows.
  assert.equal(markdown.length, 2 + 4 * 2 * 3 + 2 * 3 * 2 + 2 * 2 * 3);
  const csv = readFileSync(join(out, 'table.csv'), 'utf8').trimEnd().split('\n');
  assert.equal(csv.length, 1 + 4 * 2);
  assert.equal(csv[1].split(',')[2], first);
  const folders = summaries.map(({ dataset, model }) =>
    join(out, dataset, model.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+/, '')),
  );
  for (const [i, path] of folders.entries()) {
    const { comparison: _, ...alone } = summaries[i];
    assert.deepEqual(readJson(join(path, 'scores.json')), alone);
    const report = readFileSync(join(path, 'report.html'), 'utf8');
    assert.match(report, /<img src="data:image\/jpeg;base64,/);
    assert.doesNotMatch(report, /(src|href)="(?!data:|#)/);
  }
});

test('a split without annotation gives the predictions to submit', async () => {
  const out = join(folder, 'blind');
  const args = ['--dataset', 'muge', '--split', 'test', '--data', join(data, 'MUGE'), '--model', first];
  await refuses(args, /no text of muge test names its pictures.*--out/);
  await evalRetrieval(...args, '--out', out);
  const predictions = readFileSync(join(out, 't2i_predictions.jsonl'), 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    predictions.map((line) => JSON.parse(line).text_id),
    texts.map(({ text_id }) => text_id),
  );
  assert.ok(predictions.every((line) => JSON.parse(line).image_ids.length === 10));
  assert.ok(!existsSync(join(out, 'scores.json')));
});

test('published results are of their split, setup and model', () => {
  assert.deepEqual(
    publishedRecall('coco-cn', 'test', 'finetune', 'imageToText', 'ViT-H-14'),
    [83.5, 97.3, 99.2],
  );
  assert.equal(publishedRecall('coco-cn', 'valid', 'finetune', 'imageToText', 'ViT-H-14'), undefined);
  assert.equal(publishedRecall('muge', 'valid', 'zero-shot', 'imageToText', 'ViT-H-14'), undefined);
  assert.equal(publishedRecall('emoji-cn', 'test', 'zero-shot', 'textToImage', 'RN50'), undefined);
});

test('texts sorted by length have the features that each has alone', async () => {
  const dataset = await openDataset(join(data, 'MUGE'), { split: 'valid' });
  const tokenizer = new Tokenizer(vocabulary);
  const model = createModel(config, onnx, 0);
  const silent = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };
  const sorted = await encodeTexts(model, dataset, tokenizer, 16, 5, silent);
  assert.equal(sorted.cut, texts.filter(({ text }) => text.length > 14).length);
  assert.deepEqual(
    sorted.texts.map(({ textId }) => textId),
    texts.map(({ text_id }) => text_id),
  );
  for (const [i, { text }] of texts.entries()) {
    const { ids, length } = tokenizer.encodeBatch([prepareText(text)], 16);
    const alone = await model.encodeTexts(ids, 1, length);
    const width = config.embed_dim;
    const found = sorted.features.subarray(i * width, (i + 1) * width);
    assert.ok(maxDifference(normalize(alone, width), normalize(found, width)) < 1e-6);
  }
  dataset.close();
  await model.dispose();
});

test('bad input gets one clear message', async () => {
  const common = ['--data', data, '--model', first];
  await refuses(
    ['--dataset', 'muge,flickr8k', ...common],
    /unknown dataset "flickr8k": expected muge, flickr30k-cn, coco-cn, emoji-cn/,
  );
  await refuses(
    ['--dataset', 'muge', '--split', 'train', ...common],
    /no split "train" of muge; found test, valid/,
  );
  await refuses(['--dataset', 'coco-cn', ...common], /no split "test" of coco-cn; found no SPLIT_imgs\.tsv/);
  await refuses(['--dataset', 'muge', '--data', join(data, 'nowhere'), '--model', first], /no such folder/);
  await refuses(['--dataset', ',', ...common], /--dataset names none/);
  await refuses(
    ['--published', 'ViT-B-32', ...common],
    /--published ViT-B-32: expected one of RN50, ViT-B-16/,
  );
  await refuses(['--model', first], /give --model and --data/);
  await refuses(goldenFiles.slice(0, 4), /belong together/);
  await refuses(
    ['--dataset', 'muge,flickr30k-cn', '--report', join(folder, 'r.html'), ...common],
    /--report is of one evaluation/,
  );
  const narrow = write(join(folder, 'narrow.jsonl'), lines([{ image_id: 1, feature: [1, 0] }]));
  await refuses(
    ['--image-features', narrow, ...goldenFiles.slice(2)],
    /narrow\.jsonl holds features of width 2, .*texts\.txt_feat\.jsonl of width \d+/,
  );
  const twice = write(
    join(folder, 'twice.jsonl'),
    lines([
      { image_id: 1, feature: [1] },
      { image_id: 1, feature: [2] },
    ]),
  );
  await refuses(
    ['--image-features', twice, ...goldenFiles.slice(2)],
    /twice\.jsonl, line 2: "image_id" 1 occurred before/,
  );
});

test('eval picks the command by the name of the dataset, and lists what it knows', async () => {
  const run = (...args: string[]) => evalCommand().parseAsync(args, { from: 'user' });
  await assert.rejects(run('imagenet-22k', '--model', first), {
    name: 'UserError',
    message: /unknown dataset "imagenet-22k".*muge, flickr30k-cn.*caltech-101/s,
  });
  const out = join(folder, 'short');
  await run('flickr30k-cn', '--model', first, '--data', data, '--out', out);
  const scores = readJson<RetrievalSummary>(join(out, 'scores.json'));
  assert.deepEqual([scores.dataset, scores.split, scores.textToImage.queries], ['flickr30k-cn', 'test', 24]);
  await assert.rejects(
    run('cifar-10', '--model', first, '--data', data, '--out', out),
    /has no folder cifar-10/,
  );
});
