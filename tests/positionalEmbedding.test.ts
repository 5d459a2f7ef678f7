import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { isSquareGrid, resizePositionalEmbedding } from '../src/checkpoint/positionalEmbedding.js';
import { readSafetensors, writeSafetensors } from '../src/io/safetensors.js';
import { loadModelConfig } from '../src/model/config.js';
import { loadModel } from '../src/model/load.js';
import { initializeParameter, parameterSpecs } from '../src/model/parameters.js';
import { fixture, maxDifference, temporaryDirectory } from './support.js';

test('grids resize as in the reference, larger and smaller', () => {
  const golden = readSafetensors(fixture('golden', 'pos_embed.safetensors'));
  const resized = [...golden.keys()].filter((name) => name.includes('->'));
  assert.equal(resized.length, 3);
  for (const name of resized) {
    const { data } = golden.get(name.split('->')[0])!;
    const expected = golden.get(name)!;
    const [rows, width] = expected.shape;
    const result = resizePositionalEmbedding(data as Float32Array, width, rows);
    const difference = maxDifference(result, expected.data as Float32Array);
    assert.ok(difference < 2e-6, `${name}: ${difference}`);
  }
});

test('a grid of the same size stays as it is', () => {
  const table = Float32Array.from({ length: 10 * 3 }, (_, i) => Math.sin(i));
  assert.ok(maxDifference(resizePositionalEmbedding(table, 3, 10), table) < 1e-7);
});

test('only a class row and a square are a grid', () => {
  assert.deepEqual([2, 5, 10, 50].map(isSquareGrid), [true, true, true, true]);
  assert.deepEqual([0, 1, 3, 11].map(isSquareGrid), [false, false, false, false]);
});

test('weights for another resolution load, and it is said', async () => {
  const config = loadModelConfig('tiny');
  const path = join(temporaryDirectory(), 'other.safetensors');
  const specs = parameterSpecs({ ...config, image_resolution: 48 });
  writeSafetensors(
    path,
    new Map(specs.map((spec) => [spec.name, { shape: spec.shape, data: initializeParameter(spec, 0) }])),
  );
  const lines: string[] = [];
  const model = await loadModel(path, { config: 'tiny', warn: (line) => lines.push(line) });
  assert.deepEqual(model.weights.get('visual.positional_embedding')!.shape, [17, 64]);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /visual\.positional_embedding resized from 6×6 to 4×4/);
  await model.dispose();
});
