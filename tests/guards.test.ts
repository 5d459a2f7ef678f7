import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finetuneSchema } from '../src/config/finetune.js';
import { loadModelConfig } from '../src/model/config.js';
import { parameterSpecs } from '../src/model/parameters.js';
import { sizeOf } from '../src/shape.js';
import { ChanceLossGuard, warnAhead } from '../src/train/guards.js';
import { estimateMemory } from '../src/train/memory.js';
import { createTrainer } from '../src/train/trainer.js';
import { onnx, tinyModel, trainerDefaults } from './support.js';

/** What is said before a finetuning with these settings. */
function warnings(modelName: string, given: object): string[] {
  const base = { model: 'm', data: 'd', output: 'o', epochs: 1, batchSize: 128, learningRate: 1e-5 };
  const config = finetuneSchema.parse({ ...base, ...given });
  const stage = { number: 1 as const, name: 'finetuning', prefix: '', settings: config };
  const lines: string[] = [];
  warnAhead(stage, loadModelConfig(modelName), config, true, (line) => lines.push(line));
  return lines.filter((line) => !line.includes('needs about'));
}

test("a learning rate far above the recipe's is said, scaled to the batch, not for adapters and small models", () => {
  // The recipe's 5e-5 at 1024 is 1.8e-5 at 128.
  assert.deepEqual(warnings('ViT-B-16', { learningRate: 5e-5 }), []);
  const [line] = warnings('ViT-B-16', { learningRate: 1e-4 });
  assert.match(line, /learningRate 0\.0001 is far above the recipe's for batches of 128, about 1\.8e-5/);
  assert.deepEqual(warnings('ViT-B-16', { learningRate: 1e-4, batchSize: 1024 }), []);
  assert.deepEqual(warnings('ViT-B-16', { learningRate: 1e-4, lora: { rank: 4 } }), []);
  assert.deepEqual(warnings('tiny', { learningRate: 1e-3 }), []);
});

test('memory that is not there is said, with what to change', () => {
  const config = finetuneSchema.parse({
    ...{ model: 'm', data: 'd', output: 'o', epochs: 1, learningRate: 1e-5 },
    batchSize: 100_000,
    readAhead: 1,
  });
  const lines: string[] = [];
  const stage = { number: 1 as const, name: 'finetuning', prefix: '', settings: config };
  warnAhead(stage, loadModelConfig('ViT-B-16'), config, false, (line) => lines.push(line));
  assert.match(
    lines.at(-1)!,
    /finetuning needs about [\d.]+ GB, there are [\d.]+ GB: raise accumulate \(1\), or set checkpointing: true/,
  );
});

test('a loss that stays at ln(batch) after the warm-up is said once', () => {
  const settings = { batchSize: 32, warmupSteps: 10, learningRate: 1e-3 };
  const said = (loss: (step: number) => number) => {
    const guard = new ChanceLossGuard(settings);
    return Array.from({ length: 200 }, (_, i) => guard.warn(i + 1, loss(i + 1)) ?? '').filter(
      (line) => line !== '',
    );
  };
  const stuck = said(() => Math.log(32) - 0.01);
  assert.equal(stuck.length, 1);
  assert.match(
    stuck[0],
    /50 steps after the warm-up the loss is 3\.456, and ln\(32\) = 3\.466 is what guessing gives/,
  );
  assert.deepEqual(
    said((step) => (step <= 10 ? Math.log(32) : 2)),
    [],
  );
});

const sizes = { contextLength: 32, readAhead: 1 };

test('the estimate counts what a trainer trains', async () => {
  const config = loadModelConfig('tiny');
  const stage = finetuneSchema.parse({
    ...{ model: 'm', data: 'd', output: 'o', epochs: 1, batchSize: 8, learningRate: 1e-3, warmupSteps: 1 },
  });
  for (const settings of [
    {},
    { freezeVision: true },
    { headsOnly: true },
    { lora: { rank: 3, alpha: 8, targets: 'all', heads: true } as const },
  ]) {
    const trainer = await createTrainer(tinyModel(onnx), { ...trainerDefaults, ...settings });
    const estimate = estimateMemory(config, { ...stage, ...settings }, sizes);
    assert.equal(estimate.trained, trainer.trainableCount);
    await trainer.dispose();
  }
  const all = parameterSpecs(config).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const full = estimateMemory(config, stage, sizes);
  assert.equal(full.parameters, all);
  assert.equal(full.states, 16 * all);
  const parts = estimateMemory(config, { ...stage, accumulate: 4 }, sizes);
  assert.equal(parts.activations, full.activations / 4);
  const checkpointed = estimateMemory(config, { ...stage, checkpointing: true }, sizes);
  assert.equal(full.pixels, 2 * 8 * 3 * config.image_resolution ** 2 * 4);
  assert.ok(checkpointed.activations < full.activations);
});
