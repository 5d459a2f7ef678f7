import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadExportedModel } from '../src/export/exportedModel.js';
import { exportOnnx } from '../src/export/exportOnnx.js';
import { exportedShape, exportedWeights } from '../src/export/hiddenWidth.js';
import { readValues } from '../src/io/tensor.js';
import { loadModelConfig } from '../src/model/config.js';
import { parameterSpecs } from '../src/model/parameters.js';
import { maxDifference, onnx, randomBatch, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();

test('hidden values are added to the MLPs whose rows are a multiple of 4 KiB, and to nothing else', () => {
  const changed = (name: string) =>
    parameterSpecs(loadModelConfig(name))
      .map(({ name, shape }) => [name, shape, exportedShape(name, shape)] as const)
      .filter(([, before, after]) => String(before) !== String(after));
  const layers = { 'ViT-B-16': 24, 'ViT-L-14': 36, 'ViT-H-14': 56 };
  for (const [name, count] of Object.entries(layers)) {
    const names = changed(name);
    assert.equal(names.length, 3 * count, name);
    for (const [each] of names)
      assert.match(each, /mlp\.c_(fc|proj)|layer\.\d+\.(intermediate|output)\.dense/);
  }
  assert.deepEqual(changed('tiny'), []);
  const block = 'visual.transformer.resblocks.0.mlp';
  assert.deepEqual(exportedShape(`${block}.c_fc.weight`, [3072, 768]), [3088, 768]);
  assert.deepEqual(exportedShape(`${block}.c_fc.bias`, [3072]), [3088]);
  assert.deepEqual(exportedShape(`${block}.c_proj.weight`, [768, 3072]), [768, 3088]);
  assert.deepEqual(
    exportedShape('bert.encoder.layer.1.attention.output.dense.weight', [1024, 1024]),
    [1024, 1024],
  );
});

test('an export with added hidden values encodes as the model does, in every precision', async () => {
  const model = tinyModel(onnx, { vision_width: 256, text_intermediate_size: 1024 });
  const weight = 'visual.transformer.resblocks.1.mlp.c_proj.weight';
  const exported = exportedWeights(model.tensors).get(weight)!;
  const [before, after] = [model.tensors.get(weight)!, exported].map((tensor) => readValues(tensor));
  assert.deepEqual(exported.shape, [256, 1040]);
  for (const row of [0, 1, 255]) {
    assert.deepEqual(after.slice(row * 1040, row * 1040 + 1024), before.slice(row * 1024, (row + 1) * 1024));
    assert.ok(after.slice(row * 1040 + 1024, (row + 1) * 1040).every((value) => value === 0));
  }
  const out = join(folder, 'clip');
  const precisions = ['fp32', 'fp16', 'int8'] as const;
  await exportOnnx(model, { out, precisions: [...precisions] });
  const { pixels, ids, n, length } = randomBatch(model.config, 3, 7, 'hidden');
  const images = await model.encodeImages(pixels, n);
  const texts = await model.encodeTexts(ids, n, length);
  for (const [i, precision] of precisions.entries()) {
    const files = await loadExportedModel(out, { precision });
    const tolerance = [1e-5, 5e-3, 5e-2][i];
    assert.ok(maxDifference(await files.encodeImages(pixels, n), images) < tolerance, precision);
    assert.ok(maxDifference(await files.encodeTexts(ids, n, length), texts) < tolerance, precision);
    await files.dispose();
  }
});
