import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { checkpointSource } from '../src/export/checkpointSource.js';
import { writeCheckpoint } from '../src/index.js';
import type { Model } from '../src/model/model.js';
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
const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一二三只个的'];

before(() => {
  const model = tinyModel(onnx);
  writeCheckpoint(checkpoint, { weights: model.tensors, config: model.config, vocabulary });
});

/** Runs `export onnx` into a new folder. */
function run(name: string, ...flags: string[]) {
  return runCli(['export', 'onnx', '--model', checkpoint, '--out', join(folder, name, 'clip'), ...flags]);
}

test('the files of the reference, compared on a dataset', async () => {
  // A copy: an index is kept beside the files.
  const copy = join(folder, 'data');
  cpSync(fixture('dataset'), copy, { recursive: true });
  const data = ['--data', copy, '--split', 'valid', '--samples', '5'];
  const { code, stdout, stderr } = await run('towers', '--precision', 'fp32, fp16,int8', ...data);
  assert.equal(code, 0, stderr);
  assert.match(
    stdout + stderr,
    /clip\.txt\.int8\.onnx: text features, cosine min [01]\.\d+ mean .*\(5 samples\)/,
  );
  assert.deepEqual(readdirSync(join(folder, 'towers')).sort(), [
    'clip.img.fp16.onnx',
    'clip.img.fp32.onnx',
    'clip.img.int8.onnx',
    'clip.manifest.json',
    'clip.txt.fp16.onnx',
    'clip.txt.fp32.onnx',
    'clip.txt.int8.onnx',
    'config.json',
    'preprocessor_config.json',
    'vocab.txt',
  ]);
});

test('settings may come from a file, and other folders from the same command', async () => {
  const config = join(folder, 'export.yaml');
  writeFileSync(config, 'precision: [fp32]\nopset: 20\nexternalData: true\nlayout: transformersjs\n');
  const { code, stderr } = await run('yaml', '--config', config, '--ir-version', '10');
  assert.equal(code, 0, stderr);
  assert.ok(readdirSync(join(folder, 'yaml', 'clip.transformersjs', 'onnx')).includes('model.onnx_data'));
  const manifest = JSON.parse(readFileSync(join(folder, 'yaml', 'clip.manifest.json'), 'utf8')) as object;
  assert.deepEqual({ ...manifest, opset: 20, irVersion: 10 }, manifest);
});

test('a tower below its threshold ends the command and leaves nothing', async () => {
  const { code, stderr } = await run('strict', '--precision', 'fp32,int8', '--minimum-cosine.int8', '1');
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: the image tower in int8 \(clip\.img\.int8\.onnx\) has features with a cosine of 0\.9/m,
  );
  assert.deepEqual(readdirSync(join(folder, 'strict')), []);
});

test('bad settings are named', async () => {
  for (const [flags, message] of [
    [['--precision', 'fp64'], /--precision: expected fp32, fp16, int8 or several/],
    [['--opset', '12'], /--opset: .*13/],
    [['--opset', '17', '--ir-version', '12'], /IR version 12 does not fit opset 17/],
    [['--data', folder], /split 'valid'|valid_imgs/],
  ] as const) {
    const { code, stderr } = await run('bad', ...flags);
    assert.equal(code, 1);
    assert.match(stderr, message);
  }
});

test('a checkpoint as source gives the features of the model that is loaded from it', async () => {
  const models: [string, Model][] = [
    ['vit', tinyModel(onnx)],
    ['resnet', tinyResNet(onnx)],
  ];
  for (const [name, model] of models) {
    const directory = join(folder, name);
    writeCheckpoint(directory, { weights: model.tensors, config: model.config });
    const source = checkpointSource(directory);
    const { pixels, ids, n, length } = randomBatch(model.config, 3, 5, name);
    assert.equal(maxDifference(await source.encodeImages(pixels, n), await model.encodeImages(pixels, n)), 0);
    assert.equal(
      maxDifference(await source.encodeTexts(ids, n, length), await model.encodeTexts(ids, n, length)),
      0,
    );
    await source.release?.();
  }
});
