import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  type CheckpointContent,
  convertCheckpoint,
  createTrainer,
  downloadModel,
  loadModel,
  loadTokenizer,
  openCheckpoint,
  readValues,
  Tokenizer,
  UserError,
  writeCheckpoint,
} from '../src/index.js';
import { assertSameTensors, bytesOf, fixture, randomBatch, temporaryDirectory } from './support.js';

const folder = temporaryDirectory();

test('a model is trained, saved, converted, opened and trained on, through what the package exports', async () => {
  const golden = fixture('golden', 'vit');
  const options = { learningRate: 1e-3, warmupSteps: 1, totalSteps: 10 };
  const model = await loadModel(join(golden, 'init.safetensors'), { config: join(golden, 'config.json') });
  const trainer = await createTrainer(model, options);
  const batches = [0, 1, 2].map((i) => randomBatch(model.config, 4, 6, 'api', i));
  for (const batch of batches.slice(0, 2)) await trainer.step(batch);

  const directory = join(folder, 'checkpoint');
  const { vocabulary } = new Tokenizer(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '中']);
  const content: CheckpointContent = {
    weights: model.tensors,
    config: model.config,
    vocabulary,
    training: { epoch: 1, step: trainer.stepCount, name: 'api', optimizer: trainer.optimizerState },
  };
  writeCheckpoint(directory, content);
  const pt = join(folder, 'checkpoint.pt');
  assert.deepEqual(convertCheckpoint(directory, pt, { to: 'pt' }), [
    `${pt}: 71 tensors`,
    `${pt}: the optimizer after 2 steps`,
  ]);
  assert.deepEqual((await loadTokenizer(directory)).vocabulary, vocabulary);
  const saved = openCheckpoint(pt);
  assertSameTensors(saved.tensors, model.tensors);
  const scale = readValues(saved.tensors.get('logit_scale')!);
  assert.deepEqual([...scale], [...model.weights.get('logit_scale')!.read()]);

  await trainer.step(batches[2]);
  for (const location of [directory, pt]) {
    const again = await loadModel(location, { config: join(golden, 'config.json') });
    const resumed = await createTrainer(again, options);
    resumed.restore(openCheckpoint(location).training(), location);
    await resumed.step(batches[2]);
    for (const [name, { data }] of trainer.weights) {
      assert.deepEqual(bytesOf(resumed.weights.get(name)!.data), bytesOf(data), name);
    }
    await resumed.dispose();
    await again.dispose();
  }
  await trainer.dispose();
  await model.dispose();
});

test('downloadModel takes the cache and the official name, and no more', async () => {
  const env = { HF_HUB_CACHE: join(folder, 'cache'), HF_HUB_OFFLINE: '1' };
  await assert.rejects(
    downloadModel('ViT-B-16', { env }),
    (error) => error instanceof UserError && /HF_HUB_OFFLINE forbids to fetch it/.test(error.message),
  );
  assert.ok(!existsSync(env.HF_HUB_CACHE));
});
