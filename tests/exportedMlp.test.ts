import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Graph } from '../src/engine/onnx/graph.js';
import { record } from '../src/engine/onnx/recorder.js';
import { loadExportedModel } from '../src/export/exportedModel.js';
import { exportOnnx } from '../src/export/exportOnnx.js';
import { exportedShape, exportedWeights } from '../src/export/mlp.js';
import { recordImageTower } from '../src/export/record.js';
import { readValues } from '../src/io/tensor.js';
import { loadModelConfig } from '../src/model/config.js';
import { parameterSpecs } from '../src/model/parameters.js';
import { quickGelu } from '../src/nn/fused.js';
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

test('QuickGELU of exported files multiplies by no constant: the weights before and after it do', async () => {
  const model = tinyModel(onnx);
  const weights = exportedWeights(model.tensors);
  const block = 'visual.transformer.resblocks.0.mlp';
  const factors = { 'c_fc.weight': 1.702, 'c_fc.bias': 1.702, 'c_proj.weight': 1 / 1.702, 'c_proj.bias': 1 };
  for (const [name, factor] of Object.entries(factors)) {
    const [before, after] = [model.tensors, weights].map(
      (each) => readValues(each.get(`${block}.${name}`)!) as Float32Array,
    );
    const expected = Float32Array.from(before, (value) => value * factor);
    assert.deepEqual(after, expected, name);
  }
  const multiplied = (graph: Graph) => {
    const gates = graph.nodes.filter(({ op }) => op === 'Sigmoid');
    const sources = gates.map(
      ({ inputs: [x] }) => graph.nodes.find(({ outputs }) => outputs.includes(x))!.op,
    );
    return { gates: sources.length, sources: new Set(sources) };
  };
  const plain = record(
    ({ x }) => ({ y: quickGelu(x) }),
    { inputs: { x: { shape: ['n', 3], dtype: 'float32' } } },
    {
      opset: 17,
      microsoft: false,
    },
  );
  assert.deepEqual(multiplied(plain), { gates: 1, sources: new Set(['Mul']) });
  assert.deepEqual(multiplied(recordImageTower(model.config, 17)), {
    gates: model.config.vision_layers,
    sources: new Set(['Gemm']),
  });
});

test('an export with added hidden values encodes as the model does, in every precision', async () => {
  const model = tinyModel(onnx, { vision_width: 256, text_intermediate_size: 1024 });
  const weight = 'visual.transformer.resblocks.1.mlp.c_proj.weight';
  const exported = exportedWeights(model.tensors).get(weight)!;
  const [before, after] = [model.tensors.get(weight)!, exported].map(
    (each) => readValues(each) as Float32Array,
  );
  assert.deepEqual(exported.shape, [256, 1040]);
  for (const row of [0, 1, 255]) {
    const expected = Float32Array.from(
      before.subarray(row * 1024, (row + 1) * 1024),
      (value) => value / 1.702,
    );
    assert.ok(maxDifference(after.slice(row * 1040, row * 1040 + 1024), expected) < 1e-8);
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
