import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../src/engine/engine.js';
import { createTrainer, type TrainerOptions, type TrainingBatch } from '../src/train/trainer.js';
import {
  assertSameBits,
  assertSameGradients,
  engines,
  onnx,
  randomBatch,
  snapshot,
  tinyModel,
  tinyResNet,
  trainerDefaults,
} from './support.js';

type Options = Partial<TrainerOptions>;

/** Loss and gradients of a new tiny model. */
async function gradientsWith(engine: Engine, options: Options, batch: TrainingBatch) {
  const model = tinyModel(engine);
  const trainer = await createTrainer(model, { ...trainerDefaults, ...options });
  const result = await trainer.lossAndGradients(batch);
  await trainer.dispose();
  return result;
}

const batch = randomBatch(tinyModel(onnx).config, 6, 9, 'options');

for (const engine of engines) {
  for (const options of [
    {},
    { dropout: 0.3, maskRatio: 0.5 },
    { freezeVision: true },
    { freezeText: true },
  ]) {
    test(`${engine.description}: an accumulated gradient is that of the large batch, ${JSON.stringify(options)}`, async () => {
      const whole = await gradientsWith(engine, options, batch);
      // In three parts, and in two of which the second is smaller.
      for (const accumulate of [3, 4]) {
        const parts = await gradientsWith(engine, { ...options, accumulate }, batch);
        assert.ok(Math.abs(parts.loss - whole.loss) < 1e-5 * whole.loss);
        assertSameGradients(parts.gradients, whole.gradients);
      }
    });
  }

  test(`${engine.description}: checkpointing changes no gradient`, async () => {
    for (const options of [{}, { dropout: 0.3, maskRatio: 0.25, accumulate: 2 }, { freezeTextBlocks: 1 }]) {
      const plain = await gradientsWith(engine, options, batch);
      const checkpointed = await gradientsWith(engine, { ...options, checkpointing: true }, batch);
      assert.equal(checkpointed.loss, plain.loss);
      assertSameGradients(checkpointed.gradients, plain.gradients, 1e-6);
    }
  });

  test(`${engine.description}: checkpointing a ResNet changes neither gradient nor statistics`, async () => {
    const outcomes = [];
    for (const checkpointing of [false, true]) {
      const model = tinyResNet(engine);
      // A new block's last scale is zero: no gradient would flow into it.
      for (const [name, weight] of model.weights) {
        if (name.endsWith('bn3.weight')) weight.write(new Float32Array(weight.shape[0]).fill(0.5));
      }
      const trainer = await createTrainer(model, { ...trainerDefaults, checkpointing });
      const { gradients } = await trainer.lossAndGradients(batch);
      await trainer.step(batch);
      const buffers = [...snapshot(trainer.weights)].filter(([name]) => /running|tracked/.test(name));
      outcomes.push({ gradients, buffers: new Map(buffers) });
    }
    assertSameGradients(outcomes[1].gradients, outcomes[0].gradients, 1e-5);
    assert.ok(outcomes[0].buffers.size > 0);
    assertSameBits(outcomes[1].buffers, outcomes[0].buffers);
  });
}
