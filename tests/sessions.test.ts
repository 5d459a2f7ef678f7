import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { sessionsSideBySide } from '../src/engine/onnx/sessionOptions.js';
import { type GraphFile, openSessions } from '../src/engine/onnx/sessions.js';
import { runInBatches } from '../src/export/engineBatches.js';
import { loadExportedModel } from '../src/export/exportedModel.js';
import { exportOnnx } from '../src/export/exportOnnx.js';
import { evenRanges, inParts } from '../src/rows.js';
import { maxDifference, onnx, randomBatch, temporaryDirectory, tinyModel } from './support.js';

const out = join(temporaryDirectory(), 'clip');
const model = tinyModel(onnx);
const { embed_dim: width, image_resolution: side } = model.config;
const image: GraphFile = { path: `${out}.img.fp32.onnx`, input: 'image', output: 'unnorm_image_features' };

before(async () => {
  await exportOnnx(model, { out, precisions: ['fp32', 'int8'] });
});

test('cores are divided evenly among as many sessions as memory allows', () => {
  const [MB, GB] = [1e6, 1e9];
  const of = (bytes: number, cores: number, memory = 64 * GB, provider = 'cpu') =>
    sessionsSideBySide(provider, bytes, cores, memory);
  assert.equal(of(346 * MB, 2), 2);
  assert.equal(of(346 * MB, 16), 2, 'three would not divide 16 cores');
  assert.equal(of(90 * MB, 6), 6);
  assert.equal(of(90 * MB, 64), 8);
  assert.equal(of(2.5 * GB, 16), 1, 'ViT-H-14');
  assert.equal(of(346 * MB, 2, 8 * GB), 1, 'half a gigabyte for both');
  assert.equal(of(1, 1), 1);
  assert.equal(of(1, 2, 64 * GB, 'cuda'), 1);
});

test('rows in parts of almost the same size, as many for each session', () => {
  const sizes = (count: number, size: number, multiple: number) =>
    evenRanges(count, size, multiple).map(({ begin, end }) => end - begin);
  assert.deepEqual(sizes(16, 2, 2), Array(8).fill(2));
  assert.deepEqual(sizes(6, 2, 2), [1, 2, 1, 2]);
  assert.deepEqual(sizes(5, Number.POSITIVE_INFINITY, 2), [2, 3]);
  assert.deepEqual(sizes(1, 4, 3), [1]);
  assert.deepEqual(sizes(0, 4, 3), []);
  const ranges = evenRanges(1001, 7, 4);
  assert.deepEqual([ranges[0].begin, ranges.at(-1)!.end, ranges.length % 4], [0, 1001, 0]);
  assert.ok(ranges.every(({ begin }, i) => i === 0 || begin === ranges[i - 1].end));
});

test('so many parts are under way at a time, and after a failure no other begins', async () => {
  let [running, most] = [0, 0];
  const encode = async (begin: number, end: number) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5 * (4 - begin)));
    running--;
    return Float32Array.from({ length: end - begin }, (_, i) => begin + i);
  };
  const ranges = evenRanges(4, 1, 1);
  assert.deepEqual(await inParts(ranges, 1, encode, 2), Float32Array.of(0, 1, 2, 3));
  assert.equal(most, 2);
  const begun: number[] = [];
  const failing = async (begin: number, end: number) => {
    begun.push(begin);
    if (begin === 1) throw new Error('the second part');
    return encode(begin, end);
  };
  await assert.rejects(inParts(ranges, 1, failing, 2), /the second part/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(begun, [0, 1]);
});

test('sessions in threads give the rows that one session gives', async () => {
  const { pixels, n } = randomBatch(model.config, 7, 4, 'sessions');
  const results: Float32Array[] = [];
  for (const count of [1, 3]) {
    const sessions = openSessions(image, 'cpu', {}, count);
    assert.equal(sessions.count, count);
    const run = (data: Float32Array, rows: number) =>
      sessions.run({ type: 'float32', data, dims: [rows, 3, side, side] });
    results.push(await runInBatches(pixels, n, { min: 1, max: 2 }, width, run, count));
    // The caller's pixels are still there.
    assert.equal(pixels.length, n * 3 * side * side);
    await sessions.release();
  }
  assert.ok(maxDifference(results[0], results[1]) < 1e-6);
});

test('an error of a session in a thread is told, and the next input runs', async () => {
  const { pixels } = randomBatch(model.config, 1, 4, 'sessions');
  const sessions = openSessions(image, 'cpu', {}, 2);
  const run = (side: number) => sessions.run({ type: 'float32', data: pixels, dims: [1, 3, side, side] });
  await assert.rejects(run(side - 1), /does not match data length/);
  assert.equal((await run(side)).length, width);
  await sessions.release();
  await assert.rejects(run(side), /released/);
  const missing = openSessions({ ...image, path: `${out}.none.onnx` }, 'cpu', {}, 2);
  await assert.rejects(
    missing.run({ type: 'float32', data: pixels, dims: [1, 3, side, side] }),
    /none\.onnx/,
  );
  await missing.release();
});

test('a model for throughput encodes as one for latency', async () => {
  for (const precision of ['fp32', 'int8'] as const) {
    const [latency, throughput] = await Promise.all(
      (['latency', 'throughput'] as const).map((optimizeFor) =>
        loadExportedModel(out, { precision, optimizeFor }),
      ),
    );
    for (const count of [1, 5]) {
      const { pixels, ids, n, length } = randomBatch(model.config, count, 9, 'throughput');
      // int8 has one scale for the rows that run together.
      const tolerance = precision === 'fp32' ? 1e-6 : 5e-2;
      const images = [await latency.encodeImages(pixels, n), await throughput.encodeImages(pixels, n)];
      assert.ok(maxDifference(images[0], images[1]) < tolerance, `${precision} images, ${n}`);
      const texts = [await latency.encodeTexts(ids, n, length), await throughput.encodeTexts(ids, n, length)];
      assert.ok(maxDifference(texts[0], texts[1]) < tolerance, `${precision} texts, ${n}`);
    }
    await Promise.all([latency.dispose(), throughput.dispose()]);
  }
});
