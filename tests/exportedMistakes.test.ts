import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { openEncoder } from '../src/cli/encoder.js';
import { UserError } from '../src/errors.js';
import type { Precision } from '../src/export/parity.js';
import { exportOnnx, loadModel, writeCheckpoint } from '../src/index.js';
import { runCli } from './runCli.js';
import { fixture, onnx, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();
const deploy = join(folder, 'deploy');
const checkpoint = join(folder, 'checkpoint');
const pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一二三只个的猫'];
const model = tinyModel(onnx);
let copies = 0;

before(async () => {
  writeCheckpoint(checkpoint, { weights: model.tensors, config: model.config, vocabulary: pieces });
  await exportOnnx(model, { out: join(deploy, 'clip'), precisions: ['fp32', 'int8'], vocabulary: pieces });
  const other = tinyModel(onnx, {}, 2);
  await exportOnnx(other, { out: join(folder, 'other', 'clip'), vocabulary: pieces });
});

/** A copy of the export, to be spoilt. */
function spoilt(spoil: (path: (name: string) => string) => void, from = deploy): string {
  const copy = join(folder, `copy-${copies++}`);
  cpSync(from, copy, { recursive: true });
  spoil((name) => join(copy, name));
  return copy;
}

/** The message with which a model is refused by every command that encodes. */
async function complaint(
  location: string,
  changes: { vocabulary?: string; contextLength?: number; precision?: Precision } = {},
): Promise<string> {
  const settings = { contextLength: 12, engine: 'onnx', provider: 'cpu', providerOptions: {}, ...changes };
  try {
    await openEncoder(location, settings, () => {});
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    return error.message.replaceAll(folder, '');
  }
  return assert.fail(`${location} was opened`);
}

test('towers that are missing, mixed up or cut short', async () => {
  const towers = { image: 'clip.img.fp32.onnx', text: 'clip.txt.fp32.onnx' };
  assert.match(
    await complaint(spoilt((path) => rmSync(path(towers.text)))),
    /^\S+clip\.txt\.fp32\.onnx is missing, which \S+clip\.manifest\.json lists: export it again$/,
  );
  const unlike = /\.fp32\.onnx is not the file that \S+ lists \(\d+ bytes, expected \d+\): export it again$/;
  const swapped = spoilt((path) => copyFileSync(path(towers.text), path(towers.image)));
  assert.match(await complaint(swapped), unlike);
  const mixed = spoilt((path) => copyFileSync(path('clip.txt.int8.onnx'), path(towers.text)));
  assert.match(await complaint(mixed), unlike);
  assert.match(await complaint(spoilt((path) => truncateSync(path(towers.image), 1000))), unlike);
  const strange = spoilt((path) => copyFileSync(join(folder, 'other', towers.text), path(towers.text)));
  assert.match(
    await complaint(strange),
    /is not the file that \S+ lists \(another SHA-256\): export it again$/,
  );
  const external = join(folder, 'external');
  await exportOnnx(model, { out: join(external, 'clip'), externalData: true, vocabulary: pieces });
  const lacking = spoilt((path) => rmSync(path(`${towers.image}.extra_file`)), external);
  assert.match(
    await complaint(lacking),
    /clip\.img\.fp32\.onnx\.extra_file is missing, .*: export it again$/,
  );
});

test('a name that is not that of an export', async () => {
  for (const part of ['clip.img.fp32.onnx', 'clip.txt.int8.onnx']) {
    assert.equal(
      await complaint(join(deploy, part)),
      `/deploy/${part} is one file, and an export has several: name its prefix, /deploy/clip`,
    );
  }
  const bare = spoilt((path) => rmSync(path('clip.manifest.json')));
  assert.match(await complaint(bare), /ONNX files without the manifest .*: export the model again$/);
  assert.match(
    await complaint(join(bare, 'clip.img.fp32.onnx')),
    /one file.*: export the model with cn-clip/,
  );
  assert.equal(
    await complaint(join(deploy, 'clp')),
    '/deploy/clp does not exist; exported there: /deploy/clip',
  );
  assert.match(
    await complaint(deploy, { precision: 'fp16' }),
    /lists towers in fp32, int8, none in fp16: choose with --precision, or export fp16, too$/,
  );
});

test('a vocabulary of another model', async () => {
  const changed = spoilt((path) => writeFileSync(path('vocab.txt'), [...pieces].reverse().join('\n')));
  assert.match(await complaint(changed), /vocab\.txt is not the file that \S+ lists/);
  const missing = spoilt((path) => rmSync(path('vocab.txt')));
  assert.match(await complaint(missing), /vocab\.txt is missing, which .*: export it again$/);
  const large = join(folder, 'large.txt');
  writeFileSync(large, [...pieces, ...Array.from({ length: 300 }, (_, i) => `[unused${i}]`)].join('\n'));
  for (const location of [missing, checkpoint]) {
    assert.equal(
      await complaint(location, { vocabulary: large }),
      "/large.txt has 311 word pieces, but the model embeds 300: it is another model's vocabulary, give that of this one",
    );
  }
  assert.match(
    await complaint(deploy, { contextLength: 100 }),
    /contextLength 100 exceeds the model's 64 positions: give at most 64/,
  );
});

test('commands that need a checkpoint say so of exported files', async () => {
  const refusal = (location: string) =>
    loadModel(location).then(
      () => assert.fail(),
      (error: Error) => error.message,
    );
  assert.match(await refusal(deploy), /holds no weights: .*name the checkpoint that they were exported from/);
  const tower = await refusal(join(deploy, 'clip.img.fp32.onnx'));
  assert.match(tower, /ONNX files can't be read back, name the checkpoint that it was exported from/);
  const { code, stdout, stderr } = await runCli(['benchmark', '--model', deploy]);
  assert.equal(code, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /names exported files, and benchmark exports by itself: name the checkpoint/);
});

test('every command refuses damaged files with one line', async () => {
  const damaged = spoilt((path) => truncateSync(path('clip.img.fp32.onnx'), 1000));
  const picture = fixture('images', 'chelsea-tiny.png');
  const photos = join(folder, 'photos');
  for (const name of ['一', '二']) {
    mkdirSync(join(photos, 'test', name), { recursive: true });
    copyFileSync(picture, join(photos, 'test', name, 'picture.png'));
  }
  writeFileSync(join(photos, 'label_cn.txt'), '一\n二\n');
  const data = join(folder, 'data');
  cpSync(fixture('dataset'), data, { recursive: true });
  const index = join(folder, 'index');
  const made = await runCli(['index', photos, '--model', deploy, '--out', index]);
  assert.equal(made.code, 0, made.stderr);
  const out = join(folder, 'never');
  const commands = [
    ['classify', '--data', join(photos, 'test'), '--out', out],
    ['eval-elevater', '--data', folder, '--datasets', 'photos', '--out', out],
    ['eval-retrieval', '--data', data, '--split', 'valid', '--out', out],
    ['extract-features', '--images', photos, '--out', out],
    ['similarity', picture, '一只', '三个'],
    ['index', photos, '--out', out],
    ['search', index, '一只'],
    ['serve', index, '--port', '0'],
  ];
  for (const command of commands) {
    const { code, stderr } = await runCli([...command, '--model', damaged]);
    assert.equal(code, 1, command[0]);
    assert.match(
      stderr,
      /^error: \S+clip\.img\.fp32\.onnx is not the file that .*: export it again\n$/,
      command[0],
    );
  }
  const { stderr } = await runCli(['search', index, '一只', '--precision', 'int8']);
  assert.match(stderr, /deploy in int8 is not the model that the index was made with: .*--precision/);
});
