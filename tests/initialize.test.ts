import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openWeights } from '../src/checkpoint/files.js';
import { openSafetensors, writeSafetensors } from '../src/io/safetensors.js';
import { castFloats, readValues, tensorOf } from '../src/io/tensor.js';
import { loadModelConfig, type ModelConfig, parseModelConfig } from '../src/model/config.js';
import { bertParameterName, initializationTable, initializeTower } from '../src/model/initialize.js';
import { createModel } from '../src/model/load.js';
import type { Model } from '../src/model/model.js';
import { initializeParameter, isVisionParameter, parameterSpecs } from '../src/model/parameters.js';
import { bytesOf, onnx, readJson, temporaryDirectory } from './support.js';
import { torchFixture } from './torchFixtures.js';

const folder = temporaryDirectory();
const config = loadModelConfig('tiny');

/** A file of random weights under other names; undefined leaves one out. */
function file(name: string, rename: (parameter: string) => string | undefined, from: ModelConfig = config) {
  const path = join(folder, name);
  const tensors = parameterSpecs(from).flatMap((spec) => {
    const renamed = rename(spec.name);
    return renamed === undefined
      ? []
      : [[renamed, { shape: spec.shape, data: initializeParameter(spec, 7) }] as const];
  });
  writeSafetensors(path, new Map([...tensors, ['other.weight', { shape: [1], data: new Float32Array(1) }]]));
  return path;
}

const tower = (model: ReturnType<typeof createModel>, has: (name: string) => boolean) =>
  [...model.weights].filter(([name]) => has(name)).map(([, tensor]) => bytesOf(tensor.read().slice()));

test('the image tower and logit_scale come from CLIP, resized where they must be; the text tower stays', () => {
  const larger = { ...config, image_resolution: 48 };
  const path = file(
    'clip.safetensors',
    (name) => (/^(visual\.|logit_scale)/.test(name) ? name : undefined),
    larger,
  );
  const model = createModel(config, onnx, 0);
  const before = tower(model, (name) => name.startsWith('bert.'));
  const report = initializeTower(model, 'vision', path);
  assert.deepEqual(report.resized, ['visual.positional_embedding']);
  assert.deepEqual(report.missing, []);
  assert.deepEqual(report.ignored, ['other.weight']);
  assert.ok(report.taken.includes('logit_scale'));
  const spec = parameterSpecs(config).find(({ name }) => name === 'visual.proj')!;
  assert.deepEqual(model.weights.get('visual.proj')!.read(), initializeParameter(spec, 7));
  assert.deepEqual(
    tower(model, (name) => name.startsWith('bert.')),
    before,
  );
});

test('BERT in its older names fills the text tower; pooler and heads are ignored; what lacks is listed', () => {
  const path = file('bert.safetensors', (name) => {
    if (!name.startsWith('bert.') || name.endsWith('layer.1.output.dense.bias')) return undefined;
    const older = name
      .replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
      .replace(/LayerNorm\.bias$/, 'LayerNorm.beta');
    return older.replace(/^bert\./, '');
  });
  const model = createModel(config, onnx, 0);
  const report = initializeTower(model, 'text', path);
  assert.deepEqual(report.missing, ['bert.encoder.layer.1.output.dense.bias']);
  assert.equal(report.taken.length, 36);
  const table = initializationTable(report).join('\n');
  assert.match(table, /taken\s+36/);
  assert.match(table, /missing\s+1 {2}bert\.encoder\.layer\.1\.output\.dense\.bias/);
});

test('names of a Hugging Face BERT', () => {
  assert.equal(bertParameterName('bert.embeddings.LayerNorm.gamma'), 'bert.embeddings.LayerNorm.weight');
  assert.equal(
    bertParameterName('encoder.layer.0.output.LayerNorm.beta'),
    'bert.encoder.layer.0.output.LayerNorm.bias',
  );
  for (const name of ['bert.pooler.dense.weight', 'cls.predictions.bias', 'bert.embeddings.position_ids']) {
    assert.equal(bertParameterName(name), undefined);
  }
});

test('a file for another tower, or of another shape, is refused and changes nothing', () => {
  const model = createModel(config, onnx, 0);
  const before = tower(model, () => true);
  const vision = file('vision.safetensors', (name) => (name.startsWith('visual.') ? name : undefined));
  assert.throws(() => initializeTower(model, 'text', vision), /holds nothing for the text tower/);
  const wide = { ...config, vision_width: 128 };
  const other = file('wide.safetensors', (name) => (name.startsWith('visual.') ? name : undefined), wide);
  assert.throws(() => initializeTower(model, 'vision', other), /has shape/);
  assert.deepEqual(
    tower(model, () => true),
    before,
  );
});

/** A new model with the config of the files that PyTorch wrote. */
const emptyModel = () => {
  const path = torchFixture('config-vit.json');
  return createModel(parseModelConfig(readJson(path), path), onnx, 0);
};

/** What the reference makes of the same files: it rounds most of the values to half precision. */
const restored = openSafetensors(torchFixture('restored.safetensors'));

/** Parameters have the reference's values: to the bit, where it keeps them, or rounded as it does. */
function assertRestored(model: Model, names: readonly string[]): void {
  for (const name of names) {
    const expected = restored.get(name)!;
    const { shape } = model.weights.get(name)!;
    const ours = castFloats(
      tensorOf(shape, model.weights.get(name)!.read()),
      expected.dtype as 'F32' | 'F16',
      name,
    );
    assert.deepEqual([...shape], [...expected.shape], name);
    assert.deepEqual(bytesOf(ours.read()), bytesOf(expected.read()), name);
  }
}

for (const file of ['vit-openai-jit.pt', 'vit-openai-jit-cuda.pt', 'vit-openai-statedict.pt']) {
  test(`the image tower of ${file}, as the reference takes it`, () => {
    const model = emptyModel();
    const report = initializeTower(model, 'vision', torchFixture(file));
    const expected = [...restored.keys()].filter((name) => isVisionParameter(name) || name === 'logit_scale');
    assert.deepEqual([...report.taken].sort(), expected.sort());
    assert.deepEqual([report.missing, report.resized], [[], []]);
    for (const name of ['input_resolution', 'token_embedding.weight', 'text_projection', 'ln_final.bias']) {
      assert.ok(report.ignored.includes(name), name);
    }
    assertRestored(model, report.taken);
  });
}

test('the image tower of rn-openai-jit.pt: a ResNet with its running statistics and counters', () => {
  const path = torchFixture('config-rn.json');
  const resnet = parseModelConfig({ ...readJson<object>(path), embed_dim: 24 }, path);
  const model = createModel(resnet, onnx, 0);
  const file = torchFixture('rn-openai-jit.pt');
  const report = initializeTower(model, 'vision', file);
  assert.deepEqual(report.missing, []);
  const stored = openWeights(file).tensors;
  const expected = [...stored.keys()].filter((name) => isVisionParameter(name) || name === 'logit_scale');
  assert.deepEqual([...report.taken].sort(), expected.sort());
  for (const name of report.taken) {
    const values = [...readValues(stored.get(name)!)].map(Number);
    assert.deepEqual([...model.weights.get(name)!.read()], values, name);
  }
});

for (const [file, ignored] of [
  ['bert-prefix.bin', ['bert.embeddings.position_ids', 'bert.pooler.dense.weight', 'cls.predictions.bias']],
  // The reference passes over gamma and beta, and leaves the norms at 1 and 0; here they are taken.
  ['bert-legacy.bin', ['bert.embeddings.position_ids', 'bert.pooler.dense.weight', 'cls.predictions.bias']],
  // It takes nothing from names without `bert.`.
  ['bert-noprefix.bin', ['embeddings.position_ids', 'pooler.dense.weight']],
] as const) {
  test(`the text tower of ${file}, as the reference takes it from bert-prefix.bin`, () => {
    const model = emptyModel();
    const report = initializeTower(model, 'text', torchFixture(file));
    const expected = [...restored.keys()].filter((name) => name.startsWith('bert.'));
    assert.deepEqual([...report.taken].sort(), expected.sort());
    assert.deepEqual([report.missing, report.resized], [[], []]);
    for (const name of ignored) assert.ok(report.ignored.includes(name), name);
    assertRestored(model, report.taken);
  });
}

test('values of a float32 BERT are taken as they are, not rounded', () => {
  const model = emptyModel();
  const path = torchFixture('bert-legacy.bin');
  const { taken } = initializeTower(model, 'text', path);
  const stored = new Map(
    [...openWeights(path).tensors].map(([name, tensor]) => [bertParameterName(name), tensor]),
  );
  for (const name of taken) {
    assert.deepEqual(bytesOf(model.weights.get(name)!.read()), bytesOf(stored.get(name)!.read()), name);
  }
});
