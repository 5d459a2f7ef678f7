import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  checkpointFiles,
  readState,
  restoreMoments,
  type WeightMap,
  writeCheckpoint,
} from '../src/checkpoint/checkpoint.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import { loadModel, readWeightsInto } from '../src/model/load.js';
import type { Model } from '../src/model/model.js';
import { createTrainer } from '../src/train/trainer.js';
import {
  bytesOf,
  engines,
  onnx,
  randomBatch,
  snapshot,
  temporaryDirectory,
  tinyModel,
  trainerDefaults,
} from './support.js';

const folder = temporaryDirectory();
const vocabulary = ['[PAD]', '[UNK]', '中', '##文'];

const weightsOf = (model: Model): WeightMap =>
  new Map([...model.weights].map(([name, tensor]) => [name, { shape: tensor.shape, data: tensor.read() }]));

function assertSameWeights(actual: WeightMap, expected: ReadonlyMap<string, Float32Array>): void {
  assert.deepEqual([...actual.keys()], [...expected.keys()]);
  for (const [name, { data }] of actual) assert.deepEqual(bytesOf(data), bytesOf(expected.get(name)!), name);
}

for (const engine of engines) {
  test(`${engine.description}: training goes on from a checkpoint as if it had never stopped`, async () => {
    const options = { ...trainerDefaults, dropout: true };
    const model = tinyModel(engine);
    const trainer = await createTrainer(model, options);
    const batches = [0, 1, 2].map((i) => randomBatch(model.config, 4, 7, i));
    for (const batch of batches.slice(0, 2)) await trainer.step(batch);
    const directory = join(folder, `resume-${engine === onnx}`);
    const state = { stage: 2, step: 2, totalSteps: 8 };
    const { config } = model;
    const weights = weightsOf(model);
    writeCheckpoint(directory, { weights, config, vocabulary, moments: trainer.moments, state });
    const saved = snapshot(weights);
    await trainer.step(batches[2]);

    const other = tinyModel(engine, {}, 2);
    readWeightsInto(other, directory);
    assertSameWeights(weightsOf(other), saved);
    const resumed = await createTrainer(other, options);
    restoreMoments(directory, resumed.moments);
    assert.deepEqual(readState(directory), state);
    resumed.stepCount = 2;
    await resumed.step(batches[2]);
    assertSameWeights(resumed.weights, snapshot(trainer.weights));
    for (const [name, { first, second }] of trainer.moments) {
      const found = resumed.moments.get(name)!;
      assert.deepEqual(bytesOf(found.first.read()), bytesOf(first.read()), name);
      assert.deepEqual(bytesOf(found.second.read()), bytesOf(second.read()), name);
    }
  });
}

test('a finished model is a folder that loadModel takes, config and vocabulary beside the weights', async () => {
  const model = tinyModel(onnx, { vision_head_width: 32, vocab_size: 4 });
  const directory = join(folder, 'model');
  writeCheckpoint(directory, { weights: weightsOf(model), config: model.config, vocabulary });
  assert.deepEqual(readdirSync(directory).sort(), ['config.json', 'model.safetensors', 'vocab.txt']);
  assert.equal(
    readFileSync(join(directory, checkpointFiles.vocabulary), 'utf8'),
    `${vocabulary.join('\n')}\n`,
  );
  for (const path of [directory, join(directory, checkpointFiles.weights)]) {
    const loaded = await loadModel(path);
    assert.deepEqual(loaded.config, model.config);
    assertSameWeights(weightsOf(loaded), snapshot(weightsOf(model)));
  }
});

test('a checkpoint is replaced as a whole', () => {
  const model = tinyModel(onnx);
  const place = join(folder, 'replaced');
  const directory = join(place, 'model');
  mkdirSync(place);
  const content = { weights: weightsOf(model), config: model.config, vocabulary };
  writeCheckpoint(directory, { ...content, state: { step: 1 } });
  writeCheckpoint(directory, content);
  assert.deepEqual(readdirSync(directory).sort(), ['config.json', 'model.safetensors', 'vocab.txt']);
  assert.deepEqual(readdirSync(place), ['model']);
});

test('a write that fails half-way leaves what was there, and nothing else', () => {
  const model = tinyModel(onnx);
  const place = join(folder, 'interrupted');
  const directory = join(place, 'checkpoint');
  mkdirSync(place);
  const content = { weights: weightsOf(model), config: model.config, vocabulary };
  const broken = () => {
    throw new Error('the device is gone');
  };
  const tensor = { ...onnx.tensor([2]), shape: [2], read: broken, write: broken, dispose: broken };
  const moments = new Map([['logit_scale', { first: tensor, second: tensor }]]);
  const state = { step: 2 };
  assert.throws(() => writeCheckpoint(directory, { ...content, moments, state }), /the device is gone/);
  assert.deepEqual(readdirSync(place), []);
  writeCheckpoint(directory, { ...content, state: { step: 1 } });
  const before = readFileSync(join(directory, checkpointFiles.weights));
  assert.throws(() => writeCheckpoint(directory, { ...content, moments, state }), /the device is gone/);
  assert.deepEqual(readdirSync(place), ['checkpoint']);
  assert.deepEqual(readState(directory), { step: 1 });
  assert.deepEqual(readFileSync(join(directory, checkpointFiles.weights)), before);
});

test('weights that do not fit are refused by name', async () => {
  const model = tinyModel(onnx);
  const fitting = weightsOf(model);
  const path = join(folder, 'weights.safetensors');
  const changed = (
    change: (weights: Map<string, WeightMap extends ReadonlyMap<string, infer T> ? T : never>) => void,
  ) => {
    const weights = new Map(fitting);
    change(weights);
    writeSafetensors(path, weights);
  };
  const refusal = async (message: RegExp) => {
    const untouched = snapshot(weightsOf(model));
    await assert.rejects(loadModel(path, { config: 'tiny' }), { name: 'UserError', message });
    assert.throws(() => readWeightsInto(model, path), { name: 'UserError', message });
    assertSameWeights(weightsOf(model), untouched);
  };

  changed((weights) => weights.set('visual.proj', { shape: [64, 16], data: new Float32Array(1024) }));
  await refusal(/weights\.safetensors: tensor 'visual\.proj' has shape \[64,16\], .* asks for \[64,32\]/);
  changed((weights) => weights.delete('visual.ln_post.bias'));
  await refusal(/weights\.safetensors: tensor 'visual\.ln_post\.bias' is missing/);
  changed((weights) => {
    weights.set('bert.encoder.layer.2.output.dense.bias', { shape: [1], data: new Float32Array(1) });
    weights.set('classifier.bias', { shape: [1], data: new Float32Array(1) });
  });
  await refusal(/no place for 'bert\.encoder\.layer\.2\.output\.dense\.bias' \(2 such tensors\)/);
  const integers = new Map<string, { shape: readonly number[]; data: Float32Array | Int32Array }>(fitting);
  integers.set('logit_scale', { shape: [], data: Int32Array.of(2) });
  writeSafetensors(path, integers);
  await refusal(/tensor 'logit_scale' is I32, expected F32, F16 or BF16/);
  changed(() => {});
  truncateSync(path, 10_000);
  await refusal(/weights\.safetensors: truncated/);

  // BERT's pooler is dropped, as the reference does.
  changed((weights) => weights.set('bert.pooler.dense.bias', { shape: [32], data: new Float32Array(32) }));
  assertSameWeights(weightsOf(await loadModel(path, { config: 'tiny' })), snapshot(fitting));
});

test('what is missing is named, with what to give', async () => {
  const user = (message: RegExp) => ({ name: 'UserError', message });
  const nowhere = join(folder, 'nowhere');
  await assert.rejects(loadModel(nowhere), user(/nowhere does not exist: give a \.safetensors or \.pt file/));
  const bare = join(folder, 'bare');
  mkdirSync(bare);
  await assert.rejects(loadModel(bare), user(/model\.safetensors does not exist/));
  writeSafetensors(join(bare, checkpointFiles.weights), weightsOf(tinyModel(onnx)));
  await assert.rejects(
    loadModel(bare),
    user(/can't be inferred, since the head width .* is not known: name a model config/),
  );
  await assert.rejects(
    loadModel(bare, { config: 'tiny', engine: 'torch' }),
    user(/unknown engine 'torch'.*onnx/),
  );
  const provider = { config: 'tiny', provider: 'abacus' };
  await assert.rejects(loadModel(bare, provider), user(/provider 'abacus'.*cpu/s));
  assert.throws(() => readState(bare), user(/state\.json is missing or damaged/));
  writeFileSync(join(bare, checkpointFiles.state), '{"step": 1');
  assert.throws(() => readState(bare), user(/state\.json is missing or damaged/));
  const moments = new Map([['logit_scale', { first: onnx.tensor([]), second: onnx.tensor([]) }]]);
  assert.throws(() => restoreMoments(bare, moments), user(/optimizer\.safetensors/));
  const wrong = { shape: [1], data: new Float32Array(1) };
  writeSafetensors(join(bare, checkpointFiles.moments), new Map([['logit_scale.exp_avg', wrong]]));
  assert.throws(() => restoreMoments(bare, moments), user(/'logit_scale\.exp_avg' has shape \[1\]/));
});
