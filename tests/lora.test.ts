import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../src/checkpoint/convert.js';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import type { Engine } from '../src/engine/engine.js';
import { allocateModel, readWeightsInto } from '../src/model/load.js';
import { isLoraTarget } from '../src/model/lora.js';
import type { Model } from '../src/model/model.js';
import { isHead } from '../src/train/freezing.js';
import { createTrainer, type TrainerOptions, type TrainingBatch } from '../src/train/trainer.js';
import {
  assertSameBits,
  assertSameGradients,
  assertSameTensors,
  bytesOf,
  engines,
  maxDifference,
  onnx,
  randomBatch,
  snapshot,
  temporaryDirectory,
  tfjs,
  tinyModel,
  trainerDefaults,
} from './support.js';

const lora = { rank: 2, alpha: 8, targets: 'all', heads: false } as const;
const options = { ...trainerDefaults, learningRate: 0.01, lora, checkpointing: true };
const batches = [0, 1, 2].map((i) => randomBatch(tinyModel(onnx).config, 4, 7, 'lora', i));

function copied(model: Model): Map<string, Float32Array> {
  return new Map([...model.weights].map(([name, tensor]) => [name, tensor.read().slice()]));
}

async function features(model: Model, { pixels, ids, n, length }: TrainingBatch): Promise<Float32Array[]> {
  return [await model.encodeImages(pixels!, n), await model.encodeTexts(ids, n, length)];
}

for (const engine of engines) {
  test(`${engine.description}: adapters train alone, the encoders apply them, and merged they give the same`, async () => {
    const model = tinyModel(engine);
    const before = copied(model);
    const untrained = await features(model, batches[0]);
    const trainer = await createTrainer(model, options);
    // As they start, adapters change nothing.
    assert.ok(maxDifference((await features(model, batches[0]))[0], untrained[0]) < 1e-6);
    assert.ok(trainer.trainable.every((name) => /\.lora_[AB]$/.test(name)));
    assert.equal(trainer.trainable.length, 2 * 2 * (4 + 6));
    for (const batch of batches) await trainer.step(batch);
    assertSameBits(snapshot(trainer.weights), before);

    const adapted = await features(model, batches[0]);
    adapted.forEach((values, tower) => {
      assert.ok(maxDifference(values, untrained[tower]) > 1e-3, 'training moved nothing');
    });
    const stored = allocateModel(model.config, engine);
    const directory = join(temporaryDirectory(), 'merged');
    writeCheckpoint(directory, { weights: model.tensors, config: model.config });
    readWeightsInto(stored, directory);
    await model.mergeAdapters();
    assert.equal(model.adapters.size, 0);
    assertSameBits(copied(stored), copied(model));
    const merged = await features(model, batches[0]);
    merged.forEach((values, tower) => {
      assert.ok(maxDifference(values, adapted[tower]) < 1e-5);
    });
    for (const [name, values] of copied(model)) {
      assert.equal(!bytesOf(values).equals(bytesOf(before.get(name)!)), isLoraTarget(name, 'all'), name);
    }
  });
}

test('merging writes to the adapted weights alone', async () => {
  for (const engine of engines) {
    const model = tinyModel(engine);
    // Reading a weight in half precision gives a new array each time.
    const half = { freezeText: true, frozenPrecision: 'float16' } as const;
    await createTrainer(model, { ...options, ...half, lora: { ...lora, targets: 'mlp' } });
    const written: string[] = [];
    for (const [name, weight] of model.weights) {
      const write = weight.write.bind(weight);
      weight.write = (values) => {
        written.push(name);
        write(values);
      };
    }
    await model.mergeAdapters();
    assert.deepEqual(
      written,
      [...model.weights.keys()].filter((name) => name.startsWith('visual.') && isLoraTarget(name, 'mlp')),
    );
  }
});

test('both engines give the same gradients, accumulated too', async () => {
  const gradients = async (engine: Engine, changes: Partial<TrainerOptions>) => {
    const trainer = await createTrainer(tinyModel(engine), { ...options, ...changes });
    await trainer.step(batches[0]);
    return (await trainer.lossAndGradients(batches[1])).gradients;
  };
  const expected = await gradients(onnx, {});
  assertSameGradients(await gradients(tfjs, {}), expected, 1e-3);
  assertSameGradients(await gradients(onnx, { accumulate: 2 }), expected, 1e-3);
});

test('targets, towers, blocks and heads are chosen by the options', async () => {
  const names = async (changes: Partial<TrainerOptions>) =>
    (await createTrainer(tinyModel(onnx), { ...options, ...changes })).trainable;
  const mlp = await names({ lora: { ...lora, targets: 'mlp' } });
  assert.equal(mlp.length, 2 * 2 * 2 * 2);
  assert.ok(mlp.every((name) => /mlp|intermediate|layer\.\d\.output/.test(name)));
  const attention = await names({ lora: { ...lora, targets: 'attention' } });
  assert.equal(attention.length, 2 * 2 * (2 + 4));
  assert.ok(attention.every((name) => name.includes('att')));
  assert.ok((await names({ freezeVision: true })).every((name) => name.startsWith('bert.')));
  assert.ok((await names({ freezeText: true })).every((name) => name.startsWith('visual.')));
  assert.ok((await names({ freezeTextBlocks: 1 })).every((name) => !name.includes('layer.0.')));
  const heads = (await names({ lora: { ...lora, heads: true } })).filter(isHead);
  assert.deepEqual(heads, ['text_projection', 'logit_scale', 'visual.proj']);
});

test('a run with adapters that is resumed from its checkpoint ends with the same bits', async () => {
  const straight = tinyModel(onnx);
  const trainer = await createTrainer(straight, options);
  await trainer.step(batches[0]);
  await trainer.step(batches[1]);
  const directory = join(temporaryDirectory(), 'checkpoint');
  writeCheckpoint(directory, {
    weights: straight.tensors,
    config: straight.config,
    training: {
      epoch: 1,
      step: trainer.stepCount,
      name: 'lora',
      optimizer: trainer.optimizerState,
      adapters: trainer.adapterTensors,
    },
  });
  await trainer.step(batches[2]);

  const resumed = allocateModel(straight.config, onnx);
  readWeightsInto(resumed, directory);
  const again = await createTrainer(resumed, options);
  again.restore(openCheckpoint(directory).training(), directory);
  await again.step(batches[2]);
  assertSameBits(copied(resumed), copied(straight));
  const adaptersOf = ({ adapters }: Model) =>
    new Map([...adapters].map(([name, tensor]) => [name, tensor.read()]));
  assertSameBits(adaptersOf(resumed), adaptersOf(straight));

  // PyTorch's form has the merged weights, and no optimizer of parameters that it doesn't know.
  const pt = `${directory}.pt`;
  assert.deepEqual(convertCheckpoint(directory, pt, { to: 'pt' }), [
    `${pt}: 71 tensors`,
    `${pt}: adapters are merged; the form has no place for their optimizer`,
  ]);
  assert.equal(openCheckpoint(pt).training()?.optimizer, undefined);
  assertSameTensors(openCheckpoint(pt).tensors, openCheckpoint(directory).tensors);

  // Without adapters that checkpoint can't be gone on from, nor the other way round.
  const plain = await createTrainer(tinyModel(onnx), trainerDefaults);
  assert.throws(
    () => plain.restore(openCheckpoint(directory).training(), directory),
    /lora_A', which is locked/,
  );
});
