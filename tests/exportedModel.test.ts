import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { readFeatures } from '../src/eval/files.js';
import { normalize } from '../src/eval/ranking.js';
import { runInBatches } from '../src/export/engineBatches.js';
import { openExport } from '../src/export/exportedFiles.js';
import { ExportedModel } from '../src/export/exportedModel.js';
import { exportOnnx, writeCheckpoint } from '../src/index.js';
import { runCli } from './runCli.js';
import {
  fixture,
  maxDifference,
  onnx,
  randomBatch,
  temporaryDirectory,
  tinyModel,
  tinyResNet,
} from './support.js';

const folder = temporaryDirectory();
const checkpoint = join(folder, 'checkpoint');
const prefix = join(folder, 'deploy', 'clip');
const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一二三只个的'];
const model = tinyModel(onnx);
const data = join(folder, 'data');
const texts = join(folder, 'texts.jsonl');
const captions = Array.from({ length: 11 }, (_, i) => '一二三只个的'.slice(0, 1 + ((i * 5) % 6)));

before(async () => {
  writeCheckpoint(checkpoint, { weights: model.tensors, config: model.config, vocabulary });
  await exportOnnx(model, { out: prefix, precisions: ['fp32', 'fp16', 'int8'], vocabulary });
  cpSync(fixture('dataset'), data, { recursive: true });
  const lines = captions.map((text, i) => JSON.stringify({ text_id: i, text }));
  writeFileSync(texts, `${lines.join('\n')}\n`);
});

/** Features that `extract-features` writes. */
async function extract(name: string, ...flags: string[]) {
  const out = join(folder, name);
  const given = ['--out', out, '--images', data, '--split', 'valid', '--texts', texts, '--batch-size', '3'];
  const { code, stdout, stderr } = await runCli(['extract-features', ...given, ...flags]);
  assert.equal(code, 0, stderr);
  return {
    stdout,
    images: readFeatures(join(out, 'imgs.img_feat.jsonl'), 'image_id'),
    texts: readFeatures(join(out, 'texts.txt_feat.jsonl'), 'text_id'),
  };
}

test('features of fp32 files are those of the model within 1e-4', async () => {
  const expected = await extract('of-model', '--model', checkpoint);
  for (const [name, location] of [
    ['prefix', prefix],
    ['folder', join(folder, 'deploy')],
    ['manifest', `${prefix}.manifest.json`],
  ]) {
    const found = await extract(name, '--model', location);
    assert.match(found.stdout, /clip in fp32, onnx \(cpu\), [\d,]+ parameters/);
    assert.deepEqual(found.images.ids, expected.images.ids);
    assert.deepEqual(found.texts.ids, expected.texts.ids);
    assert.ok(maxDifference(found.images.features, expected.images.features) < 1e-4);
    assert.ok(maxDifference(found.texts.features, expected.texts.features) < 1e-4);
  }
});

test('a ResNet, and both towers without a command', async () => {
  for (const [name, each] of [
    ['vit', tinyModel(onnx)],
    ['resnet', tinyResNet(onnx)],
  ] as const) {
    const out = join(folder, name, 'clip');
    await exportOnnx(each, { out });
    const exported = await ExportedModel.open(openExport(out));
    const { pixels, ids, n, length } = randomBatch(each.config, 3, 5, name);
    assert.ok(
      maxDifference(await exported.encodeImages(pixels, n), await each.encodeImages(pixels, n)) < 1e-4,
    );
    assert.ok(
      maxDifference(await exported.encodeTexts(ids, n, length), await each.encodeTexts(ids, n, length)) <
        1e-4,
    );
    assert.ok(Math.abs(exported.logitScale - each.logitScale) < 1e-6);
    assert.equal(exported.parameterCount, each.parameterCount);
    assert.throws(() => exported.encodeImages(pixels, n + 1), RangeError);
    await exported.dispose();
  }
});

test('fp16 and int8 files are taken where they are asked for', async () => {
  const fp32 = await extract('as-fp32', '--model', prefix);
  for (const precision of ['fp16', 'int8']) {
    const found = await extract(precision, '--model', prefix, '--precision', precision);
    assert.match(found.stdout, new RegExp(`clip in ${precision}, onnx`));
    const difference = maxDifference(found.texts.features, fp32.texts.features);
    assert.ok(difference > 0 && difference < 0.1, `${precision}: ${difference}`);
  }
  const { code, stderr } = await runCli([
    ...['extract-features', '--model', prefix, '--precision', 'int8'],
    ...['--texts', texts, '--out', join(folder, 'as-fp32')],
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /holds features of another model/);
});

test('similarity, index, search and eval-retrieval take them, too', async () => {
  const picture = fixture('images', 'chelsea-tiny.png');
  const similarity = async (...flags: string[]) => {
    const { code, stdout, stderr } = await runCli([
      'similarity',
      picture,
      '一只',
      '三个',
      '--json',
      'true',
      ...flags,
    ]);
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { texts: { probability: number }[] }[])[0].texts.map(
      (text) => text.probability,
    );
  };
  const expected = await similarity('--model', checkpoint);
  assert.ok(maxDifference(await similarity('--model', prefix), expected) < 1e-4);

  const pictures = join(folder, 'pictures');
  mkdirSync(pictures);
  copyFileSync(picture, join(pictures, 'one.png'));
  const index = join(folder, 'index');
  const made = await runCli(['index', pictures, '--model', prefix, '--precision', 'fp16', '--out', index]);
  assert.equal(made.code, 0, made.stderr);
  const found = await runCli(['search', index, '一只']);
  assert.equal(found.code, 0, found.stderr);
  assert.match(found.stdout, /one\.png/);
  const other = await runCli(['search', index, '一只', '--precision', 'int8']);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /is not the model that the index was made with/);

  const recall = async (location: string) => {
    const out = join(folder, `recall-${location === prefix}`);
    const { code, stderr } = await runCli([
      ...['eval-retrieval', '--model', location, '--data', data, '--split', 'valid', '--out', out],
    ]);
    assert.equal(code, 0, stderr);
    return (JSON.parse(readFileSync(join(out, 'scores.json'), 'utf8')) as { textToImage: object })
      .textToImage;
  };
  assert.deepEqual(await recall(prefix), await recall(checkpoint));
});

test('what does not fit is named', async () => {
  const complaint = async (...flags: string[]) => {
    const { code, stderr } = await runCli([
      ...['extract-features', '--texts', texts, '--out', join(folder, 'never'), ...flags],
    ]);
    assert.equal(code, 1);
    return stderr;
  };
  assert.match(
    await complaint('--model', checkpoint, '--precision', 'fp32'),
    /--precision chooses among exported ONNX files/,
  );
  assert.match(
    await complaint('--model', prefix, '--engine', 'tfjs'),
    /ONNX files, which --engine tfjs does not run/,
  );
  assert.match(await complaint('--model', prefix, '--config', 'ViT-B-16'), /have their own config/);

  const damaged = join(folder, 'damaged');
  cpSync(join(folder, 'deploy'), damaged, { recursive: true });
  const graph = join(damaged, 'clip.txt.fp32.onnx');
  const bytes = readFileSync(graph);
  bytes[bytes.length >> 1] ^= 1;
  writeFileSync(graph, bytes);
  assert.match(await complaint('--model', damaged), /clip\.txt\.fp32\.onnx is not the file that .*manifest/);
  rmSync(graph);
  assert.match(await complaint('--model', damaged), /clip\.txt\.fp32\.onnx is missing/);
  const preprocessing = join(damaged, 'preprocessor_config.json');
  writeFileSync(preprocessing, readFileSync(preprocessing, 'utf8').replace('"resample": 3', '"resample": 2'));
  assert.match(await complaint('--model', damaged), /preprocessor_config\.json is not the file/);
  writeFileSync(join(damaged, 'clip.manifest.json'), '{"format": 2, "files": []}');
  assert.match(await complaint('--model', damaged), /is no manifest of cn-clip export onnx: format/);
  copyFileSync(join(damaged, 'clip.manifest.json'), join(damaged, 'other.manifest.json'));
  assert.match(await complaint('--model', damaged), /holds several exports: name one of/);

  const single = join(folder, 'single', 'clip');
  await exportOnnx(model, { out: single, precisions: ['fp16'] });
  assert.match(await complaint('--model', single), /exported without vocab\.txt/);
  const asked = await complaint('--model', single, '--vocabulary', checkpoint, '--precision', 'int8');
  assert.match(asked, /lists towers in fp16, none in int8/);
});

test('rows are run in batches of the sizes that an engine takes', async () => {
  const width = 2;
  const rows = Float32Array.from({ length: 7 * width }, (_, i) => i);
  const sizes: number[] = [];
  const run = (batch: Float32Array, count: number) => {
    assert.equal(batch.length, count * width);
    sizes.push(count);
    return Promise.resolve(batch.map((value) => 10 * value));
  };
  assert.deepEqual(
    await runInBatches(rows, 7, { min: 2, max: 3 }, width, run),
    rows.map((value) => 10 * value),
  );
  assert.deepEqual(sizes, [3, 3, 2]);
});

test('the files give features of length 1 once normalised, of texts in any batch', async () => {
  const exported = await ExportedModel.open(openExport(prefix), { precision: 'fp32' });
  const { ids, n, length } = randomBatch(model.config, 4, 6, 'batches');
  const together = normalize(await exported.encodeTexts(ids, n, length), model.config.embed_dim);
  const alone = normalize(
    await exported.encodeTexts(ids.subarray(length, 2 * length), 1, length),
    model.config.embed_dim,
  );
  const width = model.config.embed_dim;
  assert.ok(maxDifference(alone, together.subarray(width, 2 * width)) < 1e-5);
  await exported.dispose();
});
