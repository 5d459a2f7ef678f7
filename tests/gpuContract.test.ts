import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { createTrainer } from '../src/train/trainer.js';
import { noteCalls, randomBatch, tfjs, tinyModel, tinyResNet, trainerDefaults } from './support.js';

/**
 * The native library of tfjs-node-gpu can't be installed everywhere, but the kernels that the package registers can
 * be read in its JavaScript: a training step must call no others.
 */
const called = new Set<string>();

before(() => {
  for (const kernel of tf.getKernelsForBackend('cpu')) {
    noteCalls(kernel, 'kernelFunc', () => called.add(kernel.kernelName));
  }
});

/** Names of the kernels that the package registers, or undefined where it is not installed. */
function registeredKernels(): Set<string> | undefined {
  let folder: string;
  try {
    const root = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-node-gpu/package.json'));
    folder = join(root, 'dist');
  } catch {
    return undefined;
  }
  const names = new Set<string>();
  const list = readFileSync(join(folder, 'register_all_kernels.js'), 'utf8');
  for (const [, file] of list.matchAll(/require\("(\.\/kernels\/\w+)"\)/g)) {
    const source = readFileSync(join(folder, `${file}.js`), 'utf8');
    // Kernels are named by a constant of tfjs-core, Softmax by a string.
    for (const [, constant, name] of source.matchAll(/kernelName: (?:tfjs_1\.(\w+)|'(\w+)')/g)) {
      names.add(name ?? (tf as unknown as Record<string, string>)[constant]);
    }
  }
  return names;
}

test('tfjs-node-gpu registers every kernel that training and inference call', async (t) => {
  const registered = registeredKernels();
  if (registered === undefined) {
    t.skip('@tensorflow/tfjs-node-gpu is not installed (an optional dependency)');
    return;
  }
  assert.ok(registered.size > 100, `only ${registered.size} kernels were found in the package`);

  for (const model of [tinyModel(tfjs), tinyResNet(tfjs)]) {
    const batch = randomBatch(model.config, 3, 6, 'contract');
    for (const freezeVision of [true, false]) {
      const trainer = await createTrainer(model, { ...trainerDefaults, freezeVision, dropout: true });
      await trainer.step(batch);
      await trainer.dispose();
    }
    await model.encodeImages(batch.pixels, batch.n);
    await model.encodeTexts(batch.ids, batch.n, batch.length);
    await model.dispose();
  }

  const teacher = tinyModel(tfjs, { embed_dim: 48 }, 5);
  for (const options of [
    { accumulate: 2, clipNorm: 0.1 },
    { checkpointing: true, freezeVisionBlocks: 1, freezeTextBlocks: 1 },
    { maskRatio: 0.5 },
    { teacher, headsOnly: true },
    { lora: { rank: 2, alpha: 4, targets: 'all' as const, heads: true } },
  ]) {
    const model = tinyModel(tfjs);
    const trainer = await createTrainer(model, { ...trainerDefaults, ...options });
    await trainer.step(randomBatch(model.config, 4, 6, 'options'));
    await trainer.dispose();
  }

  // Forward, backward and optimizer were all seen.
  const some = ['BatchMatMul', 'GatherV2', 'UnsortedSegmentSum', 'Softmax', 'ArgMax', 'Sqrt'];
  const ofImages = ['Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter', 'Mean', 'Relu', 'Step'];
  for (const name of [...some, ...ofImages]) {
    assert.ok(called.has(name), `${name} was not called`);
  }
  assert.deepEqual(
    [...called].filter((name) => !registered.has(name)),
    [],
  );
});

test('tfjs-node-gpu has no kernel under the name of one of our fused operations', async (t) => {
  const registered = registeredKernels();
  if (registered === undefined) {
    t.skip('@tensorflow/tfjs-node-gpu is not installed (an optional dependency)');
    return;
  }
  // Such a kernel would be called in the place of the composition, with attributes it does not know.
  const { fused: ofTokens } = await import('../src/engine/onnx/kernels/fused.js');
  const { convolutions } = await import('../src/engine/onnx/kernels/convolution.js');
  const fused = Object.keys({ ...ofTokens, ...convolutions });
  assert.ok(fused.length > 0);
  assert.deepEqual(
    fused.filter((name) => registered.has(name)),
    [],
  );
});
