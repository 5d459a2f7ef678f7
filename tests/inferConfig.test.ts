import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadModelConfig } from '../src/model/config.js';
import { inferModelConfig } from '../src/model/inferConfig.js';
import { parameterSpecs } from '../src/model/parameters.js';

const shapesOf = (name: string) =>
  new Map<string, readonly number[]>(
    parameterSpecs(loadModelConfig(name)).map((spec) => [spec.name, spec.shape]),
  );

test('every official size is known by the shapes of its weights', () => {
  const sizes = [
    'ViT-B-16',
    'ViT-B-32',
    'ViT-L-14',
    'ViT-L-14-336',
    'ViT-H-14',
    'ViT-B-32+RBT3-chinese',
    'RN50',
  ];
  for (const name of sizes) assert.deepEqual(inferModelConfig(shapesOf(name), name), loadModelConfig(name));
});

test('what shapes do not show is not guessed', () => {
  assert.throws(
    () => inferModelConfig(shapesOf('tiny'), 'x'),
    /head width of an image tower of width 64 is not known/,
  );
  const missing = shapesOf('ViT-B-16');
  missing.delete('text_projection');
  assert.throws(() => inferModelConfig(missing, 'x'), /'text_projection' is missing/);
  const resnet = shapesOf('RN50');
  resnet.delete('visual.attnpool.positional_embedding');
  assert.throws(() => inferModelConfig(resnet, 'x'), /'visual.attnpool.positional_embedding' is missing/);
});
