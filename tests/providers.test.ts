import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import * as ort from 'onnxruntime-node';
import { providerNames, sessionOptions } from '../src/engine/onnx/sessionOptions.js';
import { createEngine } from '../src/engine/select.js';
import { exportOnnx, writeCheckpoint } from '../src/index.js';
import { runCli } from './runCli.js';
import { fixture, onnx, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();
const checkpoint = join(folder, 'checkpoint');
const data = join(folder, 'data');
const pictures = join(folder, 'pictures');
const index = join(folder, 'index');
const texts = join(folder, 'texts.jsonl');
const picture = fixture('images', 'chelsea-tiny.png');
const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一二三只个的'];

before(async () => {
  const model = tinyModel(onnx);
  writeCheckpoint(checkpoint, { weights: model.tensors, config: model.config, vocabulary });
  cpSync(fixture('dataset'), data, { recursive: true });
  for (const name of ['cat', 'dog']) {
    mkdirSync(join(pictures, name), { recursive: true });
    copyFileSync(picture, join(pictures, name, 'one.png'));
  }
  writeFileSync(texts, '{"text_id": 1, "text": "一只"}\n');
  const { code, stderr } = await runCli(['index', pictures, '--model', checkpoint, '--out', index]);
  assert.equal(code, 0, stderr);
});

/** Every command that computes with a provider, as far as the provider. */
const commands: Record<string, () => string[]> = {
  'extract-features': () => ['--model', checkpoint, '--texts', texts, '--out', join(folder, 'features')],
  'eval-retrieval': () => ['--model', checkpoint, '--data', data, '--split', 'valid'],
  classify: () => ['--model', checkpoint, '--data', pictures, '--out', join(folder, 'classes')],
  similarity: () => [picture, '一只', '--model', checkpoint],
  index: () => [pictures, '--model', checkpoint, '--out', join(folder, 'other')],
  search: () => [index, '一只'],
  serve: () => [index, '--port', '0'],
  'export onnx': () => ['--model', checkpoint, '--out', join(folder, 'export', 'clip')],
  benchmark: () => ['--model', checkpoint],
};

test('a provider that is not here is an error in every command', async (t) => {
  const missing: string[] = [];
  for (const provider of providerNames) {
    await createEngine('onnx', provider).then(
      (engine) => engine.dispose(),
      () => missing.push(provider),
    );
  }
  if (missing.length === 0) return t.skip('all providers are here');
  for (const [name, flags] of Object.entries(commands)) {
    // All commands treat all providers alike, so that one of them is enough for each.
    const provider = missing[Object.keys(commands).indexOf(name) % missing.length];
    const flag = name === 'benchmark' ? '--providers' : '--provider';
    const { code, stderr } = await runCli([...name.split(' '), ...flags(), flag, provider]);
    assert.equal(code, 1, `${name}: ${stderr}`);
    assert.match(
      stderr,
      new RegExp(`execution provider '${provider}' (can't be started here|is not in)`),
      name,
    );
    assert.doesNotMatch(stderr, /error: execution provider .*(\.cc:\d|was false)/, name);
  }
});

test('an option that the provider does not take is an error in every command', async () => {
  for (const [name, flags] of Object.entries(commands)) {
    const { code, stderr } = await runCli([
      ...name.split(' '),
      ...flags(),
      '--provider-options.device-id',
      '1',
    ]);
    assert.equal(code, 1, `${name}: ${stderr}`);
    assert.match(stderr, /provider option 'deviceId' is one of cuda and tensorrt, not of cpu/, name);
  }
  const unknown = await runCli(['similarity', picture, '一只', '--provider-options.validation-mode', 'none']);
  assert.match(unknown.stderr, /--provider-options\.validation-mode: .*wgpuOnly/);
});

test('options reach the sessions', () => {
  assert.deepEqual(sessionOptions('cuda', { deviceId: 2 }).executionProviders, [
    { name: 'cuda', deviceId: 2 },
  ]);
  assert.deepEqual(sessionOptions('tensorrt', { deviceId: 1 }).executionProviders, [
    { name: 'tensorrt', deviceId: 1 },
    { name: 'cuda', deviceId: 1 },
  ]);
  assert.deepEqual(
    sessionOptions('webgpu', { preferredLayout: 'NHWC', deviceId: undefined }).executionProviders,
    [{ name: 'webgpu', preferredLayout: 'NHWC' }],
  );
  assert.throws(() => sessionOptions('webgpu', { deviceId: 0 }), /'deviceId' is one of cuda and tensorrt/);
  assert.throws(
    () => sessionOptions('cuda', { validationMode: 'full' }),
    /'validationMode' is one of webgpu/,
  );
});

test('cpuFallback: false makes ONNX Runtime refuse operations that the CPU would compute', async () => {
  const out = join(folder, 'strict', 'clip');
  await exportOnnx(tinyModel(onnx), { out });
  const { extra } = sessionOptions('cuda', { cpuFallback: false });
  const create = (options: ort.InferenceSession.SessionOptions) =>
    ort.InferenceSession.create(`${out}.txt.fp32.onnx`, {
      ...sessionOptions('cpu'),
      logSeverityLevel: 4,
      ...options,
    });
  await (await create({})).release();
  await assert.rejects(create({ extra }), /fallback to CPU EP has been explicitly disabled/);
});

test('ONNX Runtime knows the options of webgpu', async () => {
  // It reads them before it looks for a GPU.
  const out = join(folder, 'webgpu', 'clip');
  await exportOnnx(tinyModel(onnx), { out });
  for (const option of ['preferredLayout', 'validationMode', 'storageBufferCacheMode']) {
    await assert.rejects(
      ort.InferenceSession.create(`${out}.txt.fp32.onnx`, {
        executionProviders: [{ name: 'webgpu', [option]: 'none' }],
        logSeverityLevel: 4,
      }),
      /Invalid (preferred layout|validation mode|buffer cache mode): none/,
    );
  }
});
