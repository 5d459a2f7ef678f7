import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Signature, TensorFunction } from '../src/engine/engine.js';
import { record } from '../src/engine/onnx/recorder.js';
import { encodeText } from '../src/model/bert.js';
import { encodeImage } from '../src/model/image.js';
import { idSpec, type Model, pixelSpec } from '../src/model/model.js';
import { isTextParameter, isVisionParameter } from '../src/model/parameters.js';
import { isHead, trainableParameters } from '../src/train/freezing.js';
import { trainingFunction } from '../src/train/gradients.js';
import { completeOptions } from '../src/train/options.js';
import { trainingPlan } from '../src/train/plan.js';
import { createTrainer, type TrainerOptions } from '../src/train/trainer.js';
import {
  assertSameBits,
  bytesOf,
  engines,
  onnx,
  randomBatch,
  snapshot,
  tinyModel,
  tinyResNet,
  trainerDefaults,
} from './support.js';

type Options = Partial<TrainerOptions>;

function trainable(model: Model, options: Options): string[] {
  const complete = completeOptions({ ...trainerDefaults, ...options }, model.config);
  return trainableParameters(model.weights.keys(), model.config, complete);
}

const below = /^(visual\.(class_embedding|positional_embedding|conv1|ln_pre)|bert\.embeddings)/;
const cases: { options: Options; isFrozen: (name: string) => boolean }[] = [
  { options: { freezeVision: true }, isFrozen: isVisionParameter },
  { options: { freezeText: true }, isFrozen: isTextParameter },
  {
    options: { freezeVisionBlocks: 1 },
    isFrozen: (name) => isVisionParameter(name) && (below.test(name) || name.includes('resblocks.0.')),
  },
  {
    options: { freezeTextBlocks: 2 },
    isFrozen: (name) => isTextParameter(name) && (below.test(name) || /layer\.[01]\./.test(name)),
  },
  { options: { headsOnly: true }, isFrozen: (name) => !isHead(name) },
];

for (const engine of engines) {
  for (const { options, isFrozen } of cases) {
    test(`${engine.description}: what ${JSON.stringify(options)} freezes keeps its bits, all else moves`, async () => {
      const model = tinyModel(engine);
      const before = new Map([...model.weights].map(([name, tensor]) => [name, tensor.read().slice()]));
      const trainer = await createTrainer(model, { ...trainerDefaults, ...options });
      // At the first step every value that has a gradient moves by the learning rate, or decays.
      await trainer.step(randomBatch(model.config, 4, 8, 'freezing'));
      for (const [name, values] of snapshot(trainer.weights)) {
        assert.equal(bytesOf(values).equals(bytesOf(before.get(name)!)), isFrozen(name), name);
      }
      assert.ok([...before.keys()].some(isFrozen));
    });
  }
}

/** How many nodes of a recording read each of the named inputs. */
function readers(fn: TensorFunction, signature: Signature, names: readonly string[]): number[] {
  const { nodes } = record(fn, signature);
  return names.map((name) => nodes.filter(({ inputs }) => inputs.includes(name)).length);
}

test('the backward pass is not recorded below the lowest block that is trained', () => {
  const model = tinyModel(onnx);
  const options = completeOptions(
    { ...trainerDefaults, freezeVisionBlocks: 1, freezeTextBlocks: 1 },
    model.config,
  );
  const names = trainable(model, options);
  const { fn, signature } = trainingFunction(trainingPlan(model, options, names));
  const frozen = [...model.weights.keys()].filter((name) => !names.includes(name));
  const weights = model.weightSpecs(() => true);
  // An encoder reads the weights of its forward pass alone.
  const encoder = record(
    (inputs) => ({
      image: encodeImage(model.config, inputs, inputs.pixels),
      text: encodeText(model.config, inputs, inputs.ids),
    }),
    { inputs: { pixels: pixelSpec(model.config), ids: idSpec, ...weights }, limits: signature.limits },
  );
  const expected = frozen.map((name) => encoder.nodes.filter(({ inputs }) => inputs.includes(name)).length);
  assert.ok(frozen.length > 20);
  assert.deepEqual(readers(fn, signature, frozen), expected);
  // Unlike those of a block that is trained.
  const all = trainingFunction(trainingPlan(model, options, trainable(model, {})));
  assert.notDeepEqual(readers(all.fn, all.signature, frozen), expected);
});

test('frozen stages of a ResNet, and freezeBatchNorm, keep the statistics', async () => {
  const isStatistic = (name: string) => /running_|num_batches/.test(name);
  const isOfStage1 = (name: string) => /^visual\.(bn\d|layer1\.)/.test(name);
  const runs: [Options, (name: string) => boolean][] = [
    [{ freezeVisionBlocks: 1 }, isOfStage1],
    [{ freezeBatchNorm: true }, () => true],
    [{}, () => false],
  ];
  for (const [options, keeps] of runs) {
    const model = tinyResNet(onnx);
    const before = new Map([...model.weights].map(([name, tensor]) => [name, tensor.read().slice()]));
    const trainer = await createTrainer(model, { ...trainerDefaults, ...options });
    await trainer.step(randomBatch(model.config, 4, 8, 'statistics'));
    for (const [name, values] of snapshot(trainer.weights)) {
      if (!isStatistic(name)) continue;
      assert.equal(bytesOf(values).equals(bytesOf(before.get(name)!)), keeps(name), name);
    }
  }
});

test('options that exclude each other or leave nothing to train are errors that say so', async () => {
  const rejections: [Options, RegExp, Model?][] = [
    [{ freezeVision: true, freezeText: true }, /nothing is left to train/],
    [{ freezeVisionBlocks: 3 }, /freezeVisionBlocks is 3, .* from 0 to the tower's 2 blocks/],
    [{ freezeTextBlocks: -1 }, /freezeTextBlocks is -1/],
    [{ maskRatio: 0.5, freezeVision: true }, /maskRatio has no use with freezeVision/],
    [{ maskRatio: 0.99 }, /maskRatio is 0.99, expected a share below 1 that leaves a patch/],
    [{ maskRatio: 0.5 }, /maskRatio needs a ViT/, tinyResNet(onnx)],
    [{ accumulate: 1.5 }, /accumulate is 1.5, expected a whole number from 1/],
    [{ teacher: tinyModel(onnx), freezeVision: true }, /a teacher has no use with freezeVision/],
    [
      { lora: { rank: 2, alpha: 4, targets: 'mlp', heads: false }, headsOnly: true },
      /LoRA has no weights to adapt/,
    ],
  ];
  for (const [options, message, model = tinyModel(onnx)] of rejections) {
    await assert.rejects(createTrainer(model, { ...trainerDefaults, ...options }), message);
  }
});

test('frozen weights in half precision are the rounded ones, and train again in full precision', async () => {
  const half: Options = { freezeVision: true, freezeTextBlocks: 1, frozenPrecision: 'float16' };
  const model = tinyModel(onnx);
  const trainer = await createTrainer(model, { ...trainerDefaults, ...half });
  const isHeld = (name: string) => model.weights.get(name)!.dtype === 'float16';
  const held = [...model.weights.keys()].filter(isHeld);
  assert.deepEqual(
    held,
    [...model.weights.keys()].filter((name) => !trainer.trainable.includes(name) && !isHead(name)),
  );
  // The same model with weights that are rounded beforehand gives the same bits.
  const rounded = tinyModel(onnx);
  for (const name of held) rounded.weights.get(name)!.write(model.weights.get(name)!.read());
  const plain = await createTrainer(rounded, { ...trainerDefaults, ...half, frozenPrecision: 'float32' });
  const batch = randomBatch(model.config, 4, 8, 'half');
  assert.equal((await trainer.step(batch)).loss, (await plain.step(batch)).loss);
  assertSameBits(snapshot(trainer.weights), snapshot(plain.weights));
  assert.notDeepEqual(rounded.weights.get(held[0])!.read(), tinyModel(onnx).weights.get(held[0])!.read());

  const all = await createTrainer(model, trainerDefaults);
  assert.ok(!held.some(isHeld));
  await all.step(batch);
  assert.notDeepEqual(model.weights.get(held[0])!.read(), rounded.weights.get(held[0])!.read());
});
