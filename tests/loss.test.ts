import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Signature } from '../src/engine/engine.js';
import { contrastiveLoss } from '../src/model/clip.js';
import { engines, maxDifference, randomFloats } from './support.js';

const width = 5;
const signature: Signature = {
  inputs: {
    image: { shape: ['n', width], dtype: 'float32' },
    text: { shape: ['n', width], dtype: 'float32' },
    logitScale: { shape: [], dtype: 'float32' },
    count: { shape: [], dtype: 'float32' },
  },
};

/** Loss and nearest rows in double precision, without shortcuts. */
function plainLoss(image: Float32Array, text: Float32Array, logitScale: number) {
  const n = image.length / width;
  const rows = (values: Float32Array) =>
    Array.from({ length: n }, (_, i) => {
      const row = [...values.subarray(i * width, (i + 1) * width)];
      const norm = Math.hypot(...row);
      return row.map((value) => value / norm);
    });
  const [images, texts] = [rows(image), rows(text)];
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, k) => sum + value * b[k], 0);
  const logits = images.map((a) => texts.map((b) => Math.exp(logitScale) * dot(a, b)));
  const columns = texts.map((_, j) => logits.map((row) => row[j]));
  const crossEntropy = (row: number[], label: number) => {
    const largest = Math.max(...row);
    return Math.log(row.reduce((sum, value) => sum + Math.exp(value - largest), 0)) + largest - row[label];
  };
  const mean = (rows: number[][]) => rows.reduce((sum, row, i) => sum + crossEntropy(row, i), 0) / n;
  const nearest = (row: number[]) => row.indexOf(Math.max(...row));
  return {
    loss: (mean(logits) + mean(columns)) / 2,
    nearestText: logits.map(nearest),
    nearestImage: columns.map(nearest),
  };
}

for (const engine of engines) {
  test(`${engine.description}: the contrastive loss is the mean of both cross entropies`, async () => {
    const program = await engine.compile(
      ({ image, text, logitScale, count }) => ({
        ...contrastiveLoss(image as Tensor2D, text as Tensor2D, logitScale, count),
      }),
      signature,
    );
    // At the largest scale logits differ by up to 200: an exponential relative to another row's maximum is zero.
    for (const logitScale of [0, Math.log(1 / 0.07), 4.6052]) {
      for (const n of [1, 2, 7]) {
        const image = randomFloats(n * width, 'image', n);
        const text = randomFloats(n * width, 'text', n);
        if (n === 2) {
          image.set([1, 0, 0, 0, 0, -1, 0, 0, 0, 0]);
          text.set([1, 0, 0, 0, 0, 1, 1e-3, 0, 0, 0]);
        }
        const results = await program.run({
          image: { shape: [n, width], data: image },
          text: { shape: [n, width], data: text },
          logitScale: { shape: [], data: Float32Array.of(logitScale) },
          count: { shape: [], data: Float32Array.of(n) },
        });
        const expected = plainLoss(image, text, logitScale);
        const [loss] = results.loss.data;
        assert.ok(
          Math.abs(loss - expected.loss) < 2e-5 * (1 + expected.loss),
          `${loss}, not ${expected.loss}`,
        );
        assert.deepEqual([...results.nearestText.data], expected.nearestText);
        assert.deepEqual([...results.nearestImage.data], expected.nearestImage);
      }
    }
    await program.dispose();
  });

  test(`${engine.description}: the loss has finite gradients at the largest scale`, async () => {
    const program = await engine.compile(({ image, text, logitScale, count }) => {
      const { grads } = tf.valueAndGrads(
        () => contrastiveLoss(image as Tensor2D, text as Tensor2D, logitScale, count).loss as tf.Scalar,
      )([image, text, logitScale]);
      return { image$: grads[0], text$: grads[1], logitScale$: grads[2] };
    }, signature);
    const image = Float32Array.of(1, 0, 0, 0, 0, -1, 0, 0, 0, 0);
    const text = Float32Array.of(1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0);
    const run = async (logitScale: number) =>
      program.run({
        image: { shape: [2, width], data: image },
        text: { shape: [2, width], data: text },
        logitScale: { shape: [], data: Float32Array.of(logitScale) },
        count: { shape: [], data: Float32Array.of(2) },
      });
    const results = await run(4.6052);
    const h = 1e-3;
    const slope =
      (plainLoss(image, text, 4.6052 + h).loss - plainLoss(image, text, 4.6052 - h).loss) / (2 * h);
    assert.ok(maxDifference(results.logitScale$.data, [slope]) < 1e-3 * Math.abs(slope));
    for (const { data } of Object.values(results)) assert.ok(data.every((value) => Number.isFinite(value)));
    await program.dispose();
  });
}
