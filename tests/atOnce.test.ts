import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadExportedModel } from '../src/export/exportedModel.js';
import { exportOnnx } from '../src/export/exportOnnx.js';
import { picturesAtOnce, textsAtOnce } from '../src/model/atOnce.js';
import { loadModelConfig } from '../src/model/config.js';
import { rangesOf } from '../src/rows.js';
import { maxDifference, onnx, randomBatch, temporaryDirectory, tfjs, tinyModel } from './support.js';

test('as many are encoded at once as rows are multiplied fastest, and at least one', () => {
  assert.equal(picturesAtOnce(loadModelConfig('ViT-B-16'), 600), 3);
  assert.equal(picturesAtOnce(loadModelConfig('ViT-L-14-336'), 400), 1);
  assert.equal(picturesAtOnce(loadModelConfig('RN50'), 800), Number.POSITIVE_INFINITY);
  assert.equal(textsAtOnce(52, 800), 15);
  assert.equal(textsAtOnce(52, 10), 1);
  assert.equal(tfjs.rowsAtOnce, Number.POSITIVE_INFINITY);
  assert.deepEqual(rangesOf(3, Number.POSITIVE_INFINITY), [{ begin: 0, end: 3 }]);
  assert.deepEqual(rangesOf(0, Number.POSITIVE_INFINITY), []);
});

test('more pictures and texts than are encoded at once have the features of each alone', async () => {
  const model = tinyModel(onnx);
  const out = join(temporaryDirectory(), 'clip');
  await exportOnnx(model, { out });
  const length = 52;
  const n =
    3 + 2 * Math.max(picturesAtOnce(model.config, onnx.rowsAtOnce), textsAtOnce(length, onnx.rowsAtOnce));
  const { pixels, ids } = randomBatch(model.config, n, length, 'at once');
  const width = model.config.embed_dim;
  const size = pixels.length / n;
  for (const encoder of [model, await loadExportedModel(out)]) {
    const images = await encoder.encodeImages(pixels, n);
    const texts = await encoder.encodeTexts(ids, n, length);
    assert.deepEqual([images.length, texts.length], [n * width, n * width]);
    for (const i of [0, Math.floor(n / 2), n - 1]) {
      const image = await encoder.encodeImages(pixels.slice(i * size, (i + 1) * size), 1);
      const text = await encoder.encodeTexts(ids.slice(i * length, (i + 1) * length), 1, length);
      assert.ok(maxDifference(images.subarray(i * width, (i + 1) * width), image) < 1e-5);
      assert.ok(maxDifference(texts.subarray(i * width, (i + 1) * width), text) < 1e-5);
    }
    await encoder.dispose();
  }
});
