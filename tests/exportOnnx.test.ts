import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import * as ort from 'onnxruntime-node';
import { frugalOptions } from '../src/export/parity.js';
import { exportOnnx, loadModel, loadTokenizer, type Model, Tokenizer, UserError } from '../src/index.js';
import { readSafetensors } from '../src/io/safetensors.js';
import {
  fixture,
  maxDifference,
  onnx,
  randomBatch,
  randomIntegers,
  relativeL2,
  temporaryDirectory,
  tinyModel,
  tinyResNet,
} from './support.js';

const folder = temporaryDirectory();
const precisions = ['fp32', 'fp16', 'int8'] as const;
const { vocabulary } = new Tokenizer(['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...'一只橘猫海边的日落狗']);

/** A folder of its own for one export. */
let exports = 0;
const place = () => join(folder, String(exports++), 'model');

interface Manifest {
  graphs: { file: string; precision: string; inputs: object[]; outputs: object[] }[];
  files: { name: string; bytes: number; sha256: string }[];
}

async function run(path: string, feeds: Record<string, ort.Tensor>): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(path, { logSeverityLevel: 3 });
  const results = await session.run(feeds);
  await session.release();
  return results[session.outputNames[0]].data as Float32Array;
}

function image(pixels: Float32Array, n: number, side: number): Record<string, ort.Tensor> {
  return { image: new ort.Tensor('float32', pixels, [n, 3, side, side]) };
}

function text(ids: ArrayLike<number>, n: number, length: number): Record<string, ort.Tensor> {
  return { text: new ort.Tensor('int64', BigInt64Array.from(Array.from(ids, BigInt)), [n, length]) };
}

for (const name of ['vit', 'rn']) {
  test(`${name}: the exported towers compute the features of the Python reference`, async () => {
    const golden = fixture('golden', name);
    const model = await loadModel(join(golden, 'init.safetensors'), { config: join(golden, 'config.json') });
    const out = place();
    const { parity } = await exportOnnx(model, { out, precisions });
    assert.deepEqual(
      parity.map(({ file }) => file),
      ['img', 'txt'].flatMap((tower) => precisions.map((precision) => `model.${tower}.${precision}.onnx`)),
    );
    const io = readSafetensors(join(golden, 'io.safetensors'));
    const values = (key: string) => io.get(key)!.data as Float32Array;
    const side = model.config.image_resolution;
    const [n, length] = io.get('text')!.shape;
    const ids = Array.from(io.get('text')!.data as BigInt64Array, Number);
    const limits = { fp32: 1e-6, fp16: 2e-3, int8: 2e-2 };
    for (const precision of precisions) {
      const images = await run(`${out}.img.${precision}.onnx`, image(values('image'), n, side));
      const texts = await run(`${out}.txt.${precision}.onnx`, text(ids, n, length));
      assert.ok(relativeL2(images, values('unnorm_image_features')) < limits[precision], precision);
      assert.ok(relativeL2(texts, values('unnorm_text_features')) < limits[precision], precision);
      if (precision === 'fp32') {
        assert.ok(maxDifference(images, values('unnorm_image_features')) < 1e-4);
        assert.ok(maxDifference(texts, values('unnorm_text_features')) < 1e-4);
      }
    }
    await model.dispose();
  });
}

test('a row does not depend on the batch, nor on how far its text is padded', async () => {
  const model = tinyModel(onnx);
  const out = place();
  await exportOnnx(model, { out });
  const { image_resolution: side, embed_dim: width, vocab_size: words } = model.config;
  const { pixels } = randomBatch(model.config, 8, 4, 'rows');
  const size = 3 * side * side;
  const expected = await model.encodeImages(pixels, 8);
  for (const n of [1, 3, 8]) {
    const rows = await run(`${out}.img.fp32.onnx`, image(pixels.subarray(0, n * size), n, side));
    assert.ok(maxDifference(rows, expected.subarray(0, n * width)) < 1e-5, `batch of ${n}`);
  }
  // Texts of 3 to 52 tokens: alone, in a batch of 3 and of 8.
  for (const length of [3, 4, 10, 25, 51, 52]) {
    const ids = randomIntegers(8 * 52, words - 1, 'texts', length).map((id) => id + 1);
    const padded = ids.map((id, i) => (i % 52 < length ? id : 0));
    const reference = await model.encodeTexts(padded, 8, 52);
    for (const n of [1, 3, 8]) {
      const short = Array.from({ length: n }, (_, i) => [...ids.subarray(i * 52, i * 52 + length)]).flat();
      const rows = await run(`${out}.txt.fp32.onnx`, text(short, n, length));
      assert.ok(maxDifference(rows, reference.subarray(0, n * width)) < 1e-5, `${n} texts of ${length}`);
    }
  }
});

for (const opset of [13, 14, 16, 17, 20, 23]) {
  test(`opset ${opset}`, async () => {
    for (const model of [tinyModel(onnx), tinyResNet(onnx)]) {
      const { parity } = await exportOnnx(model, { out: place(), precisions, opset, irVersion: 11 });
      for (const { maxDifference, precision } of parity) {
        if (precision === 'fp32') assert.ok(maxDifference < 1e-5);
      }
    }
  });
}

test('the versions must fit each other', async () => {
  const model = tinyModel(onnx);
  const refused = (options: object, message: RegExp) =>
    assert.rejects(exportOnnx(model, { out: place(), ...options }), (error: Error) => {
      assert.ok(error instanceof UserError);
      return message.test(error.message);
    });
  await refused({ opset: 12 }, /opset 12 can't be written, expected 13 to 23/);
  await refused({ opset: 20, irVersion: 8 }, /IR version 8 does not fit opset 20, expected 9 to 11/);
  await refused({ precisions: [] }, /no precision/);
  await refused({ out: `${folder}/` }, /names a folder/);
});

test('the folder says all that one needs, and the manifest what lies in it', async () => {
  const out = place();
  const { files } = await exportOnnx(tinyModel(onnx), { out, precisions: ['fp32', 'int8'], vocabulary });
  const directory = join(out, '..');
  assert.deepEqual(readdirSync(directory).sort(), files.map((file) => basename(file)).sort());
  assert.equal(basename(files[files.length - 1]), 'model.manifest.json');
  assert.deepEqual((await loadTokenizer(directory)).vocabulary, vocabulary);
  const manifest = JSON.parse(readFileSync(`${out}.manifest.json`, 'utf8')) as Manifest;
  assert.equal(manifest.files.length, files.length - 1);
  for (const { name, bytes, sha256 } of manifest.files) {
    const content = readFileSync(join(directory, name));
    assert.equal(content.length, bytes);
    assert.equal(createHash('sha256').update(content).digest('hex'), sha256);
  }
  assert.deepEqual(manifest.graphs[2], {
    file: 'model.txt.fp32.onnx',
    precision: 'fp32',
    inputs: [{ name: 'text', shape: ['n', 'length'], type: 'int64' }],
    outputs: [{ name: 'unnorm_text_features', shape: ['n', 32], type: 'float32' }],
  });
});

test('nothing is replaced unasked, and the same export gives the same bytes', async () => {
  const out = place();
  const model = tinyModel(onnx);
  const another = tinyModel(onnx, { vision_layers: 1 });
  const { files } = await exportOnnx(model, { out });
  const contents = files.map((file) => readFileSync(file));
  await assert.rejects(exportOnnx(model, { out }), /model\.manifest\.json exists already/);
  // Another prefix shares config and preprocessing.
  await exportOnnx(model, { out: join(out, '..', 'other') });
  await exportOnnx(model, { out, overwrite: true });
  for (const [i, file] of files.entries()) assert.ok(readFileSync(file).equals(contents[i]), file);
  // What is found late, weights that an earlier export left beside its graph, stays too.
  const late = place();
  await exportOnnx(model, { out: late, externalData: true });
  for (const name of readdirSync(join(late, '..'))) {
    if (!name.endsWith('.extra_file')) rmSync(join(late, '..', name));
  }
  const left = readdirSync(join(late, '..'));
  await assert.rejects(exportOnnx(another, { out: late, externalData: true }), /extra_file exists already/);
  assert.deepEqual(readdirSync(join(late, '..')), left);
  await assert.rejects(exportOnnx(another, { out: join(out, '..', 'third') }), /config\.json exists already/);
});

test('external data: weights beside the file, small tensors in it', async () => {
  const out = place();
  const model = tinyModel(onnx);
  await exportOnnx(model, { out: `${out}-inline` });
  await exportOnnx(model, { out, precisions, externalData: true });
  for (const precision of precisions) {
    assert.ok(readFileSync(`${out}.img.${precision}.onnx`).length < 120_000, precision);
    assert.ok(existsSync(`${out}.txt.${precision}.onnx.extra_file`));
  }
  const { pixels } = randomBatch(model.config, 2, 4, 'external');
  const feeds = image(pixels, 2, model.config.image_resolution);
  assert.deepEqual(await run(`${out}.img.fp32.onnx`, feeds), await run(`${out}-inline.img.fp32.onnx`, feeds));
});

test('a tower that is too far from the model fails by name, and nothing is left', async () => {
  const out = place();
  await assert.rejects(
    exportOnnx(tinyModel(onnx), { out, precisions, minimumCosine: { int8: 1 } }),
    /the (image|text) tower in int8 \(model\.\w+\.int8\.onnx\).*at least 1 was asked for/,
  );
  assert.deepEqual(readdirSync(join(out, '..')), []);
});

test('samples of the caller decide', async () => {
  const model = tinyModel(onnx);
  const { pixels, ids } = randomBatch(model.config, 5, 9, 'samples');
  const samples = { pixels, images: 5, ids: ids.subarray(0, 27), texts: 3, length: 9 };
  const { parity } = await exportOnnx(model, { out: place(), samples });
  assert.deepEqual(
    parity.map(({ tower, samples }) => [tower, samples]),
    [
      ['image', 5],
      ['text', 3],
    ],
  );
});

/** A model whose residual sums are in the thousands, so that their squares are more than float16 holds. */
function largeActivations(): Model {
  const model = tinyModel(onnx);
  for (const [name, weight] of model.weights) {
    if (/(out_proj|c_proj)\.weight$/.test(name)) weight.write(weight.read().map((value) => value * 3e4));
    if (name === 'bert.embeddings.LayerNorm.weight') weight.write(weight.read().map((value) => value * 300));
  }
  return model;
}

test('float16 holds what would overflow: layer norms, softmax and residual sums are float32', async () => {
  // Before opset 17 the parts of a layer norm, with their squares, are values of the graph, too.
  for (const opset of [16, 17]) {
    const { parity } = await exportOnnx(largeActivations(), { out: place(), precisions: ['fp16'], opset });
    for (const { minCosine, largestHalf } of parity) {
      assert.ok(minCosine > 0.999);
      assert.ok(largestHalf! > 300 && largestHalf! < 65504);
    }
  }
});

test('float16 that overflows fails, also where the processor computes in float32', async () => {
  const model = largeActivations();
  const bias = model.weights.get('visual.transformer.resblocks.0.mlp.c_fc.bias')!;
  // In the file it is multiplied by 1.702, and still fits.
  bias.write(bias.read().fill(3.8e4));
  await assert.rejects(
    exportOnnx(model, { out: place(), precisions: ['fp16'] }),
    /the image tower in fp16 .* computes values up to .*, float16 ends at 65504/,
  );
  bias.write(bias.read().fill(7e4));
  await assert.rejects(
    exportOnnx(model, { out: place(), precisions: ['fp16'] }),
    /c_fc\.bias.* too large for half/,
  );
});

test('--optimize writes the graphs that ONNX Runtime fused', async () => {
  const model = tinyModel(onnx);
  const out = place();
  await exportOnnx(model, { out, precisions: ['fp32'], optimize: true });
  assert.ok(readFileSync(`${out}.txt.fp32.optimized.onnx`).includes('FusedMatMul'));
  const { pixels } = randomBatch(model.config, 2, 4, 'optimized');
  const features = await run(
    `${out}.img.fp32.optimized.onnx`,
    image(pixels, 2, model.config.image_resolution),
  );
  assert.ok(maxDifference(features, await model.encodeImages(pixels, 2)) < 1e-5);
});

test('sessions that compare take all cores', () => {
  assert.equal(frugalOptions().intraOpNumThreads, availableParallelism());
});
