import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../src/engine/engine.js';
import type { Node } from '../src/engine/onnx/graph.js';
import { record } from '../src/engine/onnx/recorder.js';
import { trainingFunction } from '../src/train/gradients.js';
import { completeOptions } from '../src/train/options.js';
import { trainingPlan } from '../src/train/plan.js';
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

test('each part of a batch is counted once in the running statistics of a ResNet, and only by a step', async () => {
  const model = tinyResNet(onnx);
  const trainer = await createTrainer(model, { ...trainerDefaults, accumulate: 3 });
  const count = () => model.weights.get('visual.bn1.num_batches_tracked')!.read()[0];
  await trainer.lossAndGradients(batch);
  assert.equal(count(), 0);
  await trainer.step(batch);
  assert.equal(count(), 3);
});

/** How many values of the forward pass a recorded training step holds for its backward pass. */
function heldValues(checkpointing: boolean): number {
  const model = tinyModel(onnx);
  const options = completeOptions({ ...trainerDefaults, checkpointing }, model.config);
  const plan = trainingPlan(model, options, [...model.weights.keys()]);
  const { fn, signature } = trainingFunction(plan);
  const { nodes, outputs } = record(fn, signature);
  const forward = new Set<string>([outputs.get('loss')!.value]);
  for (const node of nodes.toReversed()) {
    if (node.outputs.some((output) => forward.has(output)))
      for (const input of node.inputs) forward.add(input);
  }
  const isForward = ({ outputs }: Node) => outputs.some((output) => forward.has(output));
  const read = new Set(nodes.filter((node) => !isForward(node)).flatMap(({ inputs }) => inputs));
  // Views and shapes are no memory of their own.
  const computed = nodes.filter((node) => isForward(node) && !/^(Shape|Reshape|Concat|Mul)$/.test(node.op));
  return computed.flatMap(({ outputs }) => outputs).filter((output) => read.has(output)).length;
}

test('with checkpointing a backward pass holds little more of the forward pass than the inputs of blocks', () => {
  const [plain, checkpointed] = [heldValues(false), heldValues(true)];
  assert.ok(checkpointed < plain / 2, `${checkpointed} values are held, ${plain} without`);
});
