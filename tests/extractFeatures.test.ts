import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { FeatureFile } from '../src/eval/features/featureFile.js';
import { openPictures } from '../src/eval/features/pictures.js';
import { readFeatures } from '../src/eval/files.js';
import { normalize } from '../src/eval/ranking.js';
import { writeCheckpoint } from '../src/index.js';
import { Tokenizer } from '../src/text/tokenizer.js';
import { runCli } from './runCli.js';
import { fixture, maxDifference, onnx, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();
const checkpoint = join(folder, 'checkpoint');
const data = join(folder, 'data');
const texts = join(folder, 'texts.jsonl');
const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一二三只个的'];
const captions = Array.from({ length: 11 }, (_, i) => '一二三只个的'.slice(0, 1 + ((i * 5) % 6)));
const model = tinyModel(onnx);

before(() => {
  writeCheckpoint(checkpoint, { weights: model.tensors, config: model.config, vocabulary });
  cpSync(fixture('dataset'), data, { recursive: true });
  const lines = captions.map((text, i) => JSON.stringify({ text_id: i % 2 === 0 ? i : `t${i}`, text }));
  writeFileSync(texts, `${lines.join('\n')}\n`);
});

function run(out: string, ...flags: string[]) {
  const given = ['--model', checkpoint, '--out', join(folder, out), '--batch-size', '2', ...flags];
  return runCli(['extract-features', ...given]);
}

const all = ['--images', data, '--split', 'valid', '--texts', texts, '--format', 'jsonl,npy'];

test('features of pictures and texts, in both formats and in order', async () => {
  const { code, stderr, stdout } = await run('whole', ...all);
  assert.equal(code, 0, stderr + stdout);
  const found = readFeatures(join(folder, 'whole', 'texts.txt_feat.jsonl'), 'text_id');
  assert.deepEqual(
    found.ids,
    captions.map((_, i) => (i % 2 === 0 ? i : `t${i}`)),
  );
  const { ids, n, length } = new Tokenizer(vocabulary).encodeBatch(captions, 52);
  const expected = normalize(await model.encodeTexts(ids, n, length), model.config.embed_dim);
  assert.ok(maxDifference(found.features, expected) < 1e-5);
  for (const [name, field] of [
    ['imgs.img_feat', 'image_id'],
    ['texts.txt_feat', 'text_id'],
  ] as const) {
    const lines = readFeatures(join(folder, 'whole', `${name}.jsonl`), field);
    assert.deepEqual(readFeatures(join(folder, 'whole', `${name}.npy`), field), lines);
  }
  assert.ok(!readdirSync(join(folder, 'whole')).some((name) => name.endsWith('.partial')));
  const again = await run('whole', ...all);
  assert.match(again.stdout, /texts\.txt_feat\.jsonl.*there already/);
});

test('shards merge into what one process writes', async () => {
  for (const i of [0, 1]) {
    const { code, stderr } = await run(`shard${i}`, ...all, '--shard', `${i}/2`);
    assert.equal(code, 0, stderr);
  }
  const parts = ['shard1', 'shard0'].map((name) => join(folder, name));
  const { code, stderr } = await run('merged', '--merge', ...parts);
  assert.equal(code, 0, stderr);
  for (const [name, field] of [
    ['imgs.img_feat.npy', 'image_id'],
    ['imgs.img_feat.jsonl', 'image_id'],
    ['texts.txt_feat.npy', 'text_id'],
  ] as const) {
    const whole = readFeatures(join(folder, 'whole', name), field);
    const merged = readFeatures(join(folder, 'merged', name), field);
    assert.deepEqual(merged.ids, whole.ids);
    assert.ok(maxDifference(merged.features, whole.features) < 1e-5);
  }
  const half = await run('half', '--merge', parts[0]);
  assert.equal(half.code, 1);
  assert.match(half.stderr, /shard 1\/2, expected 0\/1/);
});

test('a run that was stopped goes on from its whole batches, and ends with the same bytes', async () => {
  const out = join(folder, 'stopped');
  const child = await run('stopped', '--images', join(folder, 'nothing.txt'), '--texts', texts);
  assert.equal(child.code, 1);
  assert.ok(!existsSync(out));
  // A picture that is broken stops the run after what was done before it.
  const pictures = join(folder, 'pictures');
  cpSync(fixture('images'), pictures, { recursive: true, filter: (path) => !path.endsWith('.json') });
  const names = readdirSync(pictures)
    .filter((name) => /\.(png|jpg)$/.test(name))
    .slice(0, 5);
  const list = join(folder, 'list.txt');
  writeFileSync(list, names.map((name) => `pictures/${name}`).join('\n'));
  const whole = await run('uninterrupted', '--images', list);
  assert.equal(whole.code, 0, whole.stderr);
  const good = readFileSync(join(pictures, names[4]));
  writeFileSync(join(pictures, names[4]), 'no picture');
  const broken = await run('stopped', '--images', list);
  assert.equal(broken.code, 1);
  assert.ok(broken.stderr.includes(names[4]), broken.stderr);
  const partial = join(out, 'imgs.img_feat.partial');
  const size = readFileSync(partial).length;
  assert.equal(size, 64 + 4 * 4 * model.config.embed_dim);
  truncateSync(partial, size - 3);
  writeFileSync(join(pictures, names[4]), good);
  const resumed = await run('stopped', '--images', list);
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.match(resumed.stdout, /imgs\.img_feat: 2\/5/);
  const bytes = (name: string) => readFileSync(join(folder, name, 'imgs.img_feat.jsonl'), 'utf8');
  assert.equal(bytes('stopped'), bytes('uninterrupted'));
  assert.match(bytes('stopped'), /^\{"image_id": "pictures\/[^"]+", "feature": \[-?\d/);
  const other = await run('stopped', '--images', pictures);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /holds features of other images/);
});

test('every picture of a folder is taken once, also where a link leads back to the folder', async () => {
  const round = join(folder, 'round');
  mkdirSync(join(round, 'a', 'deep'), { recursive: true });
  for (const name of ['a/deep/x.jpg', 'b.png', 'a/y.WEBP', 'a/notes.txt'])
    writeFileSync(join(round, name), '');
  symlinkSync(round, join(round, 'a', 'back'));
  const pictures = await openPictures(round, { split: 'test', warn: () => {} });
  const ids = Array.from({ length: pictures.count }, (_, row) => pictures.imageId(row));
  assert.deepEqual(ids, ['a/deep/x.jpg', 'a/y.WEBP', 'b.png']);
});

test('a file of other features is begun anew', () => {
  const path = join(folder, 'rows.partial');
  const first = new FeatureFile(path, 'a'.repeat(64), 2);
  first.append(Float32Array.of(1, 2, 3, 4));
  first.close();
  const same = new FeatureFile(path, 'a'.repeat(64), 2);
  assert.deepEqual(same.read(0, same.rows), Float32Array.of(1, 2, 3, 4));
  same.close();
  const other = new FeatureFile(path, 'b'.repeat(64), 2);
  assert.equal(other.rows, 0);
  other.close();
});
