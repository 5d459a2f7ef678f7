import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  checkpointFiles,
  readState,
  readTrainingState,
  writeCheckpoint,
} from '../src/checkpoint/directory.js';
import { readAll } from '../src/engine/engine.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import type { LazyTensor } from '../src/io/tensor.js';
import { loadModel, readWeightsInto } from '../src/model/load.js';
import type { Model } from '../src/model/model.js';
import { createTrainer, type Trainer } from '../src/train/trainer.js';
import {
  bytesOf,
  engines,
  onnx,
  randomBatch,
  readJson,
  snapshot,
  temporaryDirectory,
  tinyModel,
  trainerDefaults,
} from './support.js';

const folder = temporaryDirectory();
const vocabulary = ['[PAD]', '[UNK]', '中', '##文'];
const finishedFiles = [
  'cn-clip.json',
  'config.json',
  'model.safetensors',
  'preprocessor_config.json',
  'vocab.txt',
];

type WeightMap = Trainer['weights'];

const weightsOf = (model: Model): WeightMap => readAll(model.weights);

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
    const run = { stage: 2, totalSteps: 8 };
    const { config, tensors: weights } = model;
    const training = { epoch: 1, step: 2, name: 'test', optimizer: trainer.optimizerState };
    writeCheckpoint(directory, { weights, config, vocabulary, training, run });
    const saved = snapshot(weightsOf(model));
    await trainer.step(batches[2]);

    const other = tinyModel(engine, {}, 2);
    readWeightsInto(other, directory);
    assertSameWeights(weightsOf(other), saved);
    const resumed = await createTrainer(other, options);
    const state = readState(directory) as Record<string, unknown>;
    const { moments: _, ...factors } = trainer.optimizerState;
    assert.deepEqual(state, { ...run, epoch: 1, step: 2, name: 'test', optimizer: { ...factors, step: 2 } });
    resumed.restore(readTrainingState(directory), directory);
    assert.deepEqual([resumed.stepCount, resumed.updateCount], [2, 2]);
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
  writeCheckpoint(directory, { weights: model.tensors, config: model.config, vocabulary });
  assert.deepEqual(readdirSync(directory).sort(), finishedFiles);
  const versions = readJson<Record<string, unknown>>(join(directory, checkpointFiles.versions));
  assert.equal(versions.format, 1);
  for (const name of ['cn-clip', 'node', 'onnxruntime-node', '@tensorflow/tfjs-core']) {
    assert.match(String(versions[name]), /^\d+\.\d+\.\d+/, name);
  }
  const preprocessing = readJson<Record<string, unknown>>(join(directory, checkpointFiles.preprocessing));
  assert.deepEqual(preprocessing.size, { height: 32, width: 32 });
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
  const content = { weights: model.tensors, config: model.config, vocabulary };
  writeCheckpoint(directory, { ...content, training: { epoch: 1, step: 1, name: '' } });
  assert.deepEqual(readdirSync(directory).sort(), [...finishedFiles, 'state.json'].sort());
  writeCheckpoint(directory, content);
  assert.deepEqual(readdirSync(directory).sort(), finishedFiles);
  assert.deepEqual(readdirSync(place), ['model']);
});

test('a write that fails half-way leaves what was there, and nothing else', () => {
  const model = tinyModel(onnx);
  const place = join(folder, 'interrupted');
  const directory = join(place, 'checkpoint');
  mkdirSync(place);
  const content = { weights: model.tensors, config: model.config, vocabulary };
  const broken = () => {
    throw new Error('the device is gone');
  };
  const tensor: LazyTensor = { shape: [2], dtype: 'F32', read: broken };
  const moments = new Map([['logit_scale', { first: tensor, second: tensor }]]);
  const factors = { step: 2, learningRate: 0, weightDecay: 0, beta1: 0, beta2: 0, epsilon: 0 };
  const training = { epoch: 1, step: 2, name: '', optimizer: { ...factors, moments } };
  assert.throws(() => writeCheckpoint(directory, { ...content, training }), /the device is gone/);
  assert.deepEqual(readdirSync(place), []);
  writeCheckpoint(directory, { ...content, training: { epoch: 1, step: 1, name: '' } });
  const before = readFileSync(join(directory, checkpointFiles.weights));
  assert.throws(() => writeCheckpoint(directory, { ...content, training }), /the device is gone/);
  assert.deepEqual(readdirSync(place), ['checkpoint']);
  assert.deepEqual(readState(directory), { epoch: 1, step: 1, name: '' });
  assert.deepEqual(readFileSync(join(directory, checkpointFiles.weights)), before);
});

test('weights that do not fit are refused by name', async () => {
  const model = tinyModel(onnx);
  const fitting = weightsOf(model);
  const path = join(folder, 'weights.safetensors');
  const changed = (
    change: (weights: Map<string, WeightMap extends Map<string, infer T> ? T : never>) => void,
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
  await assert.rejects(loadModel(nowhere), user(/nowhere does not exist: give a checkpoint directory/));
  const text = join(folder, 'captions.txt');
  writeFileSync(text, '一只猫\n');
  await assert.rejects(
    loadModel(text),
    user(/captions\.txt holds no weights: it is neither a safetensors file nor/),
  );
  const bare = join(folder, 'bare');
  mkdirSync(bare);
  await assert.rejects(loadModel(bare), user(/bare holds no weights: expected model\.safetensors/));
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
  writeFileSync(join(bare, checkpointFiles.state), '{"step": -1}');
  assert.throws(() => readTrainingState(bare), user(/state\.json is damaged: epoch.*step/));
  const factors = '"learningRate": 0, "weightDecay": 0, "beta1": 0, "beta2": 0, "epsilon": 0';
  const state = `{"epoch": 1, "step": 1, "optimizer": {"step": 1, ${factors}}}`;
  writeFileSync(join(bare, checkpointFiles.state), state);
  assert.throws(() => readTrainingState(bare), user(/optimizer\.safetensors: can't be opened/));
  const wrong = { shape: [1], data: new Float32Array(1) };
  const moments = join(bare, checkpointFiles.moments);
  writeSafetensors(moments, new Map([['logit_scale.exp_avg', wrong]]));
  assert.throws(() => readTrainingState(bare), user(/'logit_scale\.exp_avg_sq' is missing/));
  writeSafetensors(
    moments,
    new Map([
      ['logit_scale.exp_avg', wrong],
      ['logit_scale.exp_avg_sq', wrong],
    ]),
  );
  const trainer = await createTrainer(tinyModel(onnx), trainerDefaults);
  assert.throws(
    () => trainer.restore(readTrainingState(bare), bare),
    user(/'\S+\.exp_avg' is missing|'logit_scale\.exp_avg' has shape \[1\]/),
  );
  assert.equal(trainer.stepCount, 0);
  assert.throws(
    () => trainer.restore(undefined, 'weights.pt'),
    user(/weights\.pt holds weights, but no optimizer/),
  );
});

test('a directory of a later layout is refused', async () => {
  const model = tinyModel(onnx);
  const directory = join(folder, 'later');
  writeCheckpoint(directory, { weights: model.tensors, config: model.config, vocabulary });
  writeFileSync(join(directory, checkpointFiles.versions), '{"format": 2}');
  await assert.rejects(loadModel(directory), { name: 'UserError', message: /format 2 is not known here/ });
});
