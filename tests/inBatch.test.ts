import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { epochOrder } from '../src/data/sampler.js';
import type { HostTensor } from '../src/engine/engine.js';
import { inBatchScores } from '../src/eval/inBatch.js';
import { normalize } from '../src/eval/ranking.js';
import { contrastiveLoss } from '../src/model/clip.js';
import { randomFloats, tfjs } from './support.js';

test("validation loss and accuracy are the training loss's, in batches of the reference's order", async () => {
  const [dimension, pairs, batchSize, scale] = [8, 10, 4, 14];
  const images = normalize(randomFloats(6 * dimension, 'images'), dimension);
  const texts = normalize(randomFloats(pairs * dimension, 'texts'), dimension);
  const pairImageRows = Int32Array.from({ length: pairs }, (_, i) => i % 6);
  const pairTextRows = Int32Array.from({ length: pairs }, (_, i) => pairs - 1 - i);
  // The last batch is filled up: twelve places for ten pairs.
  const order = epochOrder(pairs, batchSize, 0, 0, true);
  assert.equal(order.length, 12);
  const rows = (of: Float32Array, chosen: Int32Array) => ({
    data: Float32Array.from(
      [...chosen].flatMap((row) => [...of.subarray(row * dimension, (row + 1) * dimension)]),
    ),
    shape: [batchSize, dimension],
  });
  const scalar = (value: number) => ({ data: Float32Array.of(value), shape: [] });
  const features = { shape: ['n', dimension], dtype: 'float32' } as const;
  const number = { shape: [], dtype: 'float32' } as const;
  const program = await tfjs.compile(
    ({ image, text, logitScale, count }) => ({
      ...contrastiveLoss(image as Tensor2D, text as Tensor2D, logitScale, count),
    }),
    { inputs: { image: features, text: features, logitScale: number, count: number } },
  );
  const expected = { loss: 0, imageToTextAccuracy: 0, textToImageAccuracy: 0 };
  for (let start = 0; start < order.length; start += batchSize) {
    const batch = order.subarray(start, start + batchSize);
    const { loss, nearestText, nearestImage } = await program.run({
      image: rows(
        images,
        batch.map((pair) => pairImageRows[pair]),
      ),
      text: rows(
        texts,
        batch.map((pair) => pairTextRows[pair]),
      ),
      logitScale: scalar(Math.log(scale)),
      count: scalar(batchSize),
    });
    const hits = ({ data }: HostTensor) => [...data].filter((at, i) => at === i).length / order.length;
    expected.loss += loss.data[0] / 3;
    expected.imageToTextAccuracy += hits(nearestText);
    expected.textToImageAccuracy += hits(nearestImage);
  }
  const scores = inBatchScores({
    imageFeatures: images,
    textFeatures: texts,
    dimension,
    pairImageRows,
    pairTextRows,
    batchSize,
    logitScale: scale,
  });
  for (const name of ['loss', 'imageToTextAccuracy', 'textToImageAccuracy'] as const) {
    assert.ok(Math.abs(scores[name] - expected[name]) < 1e-5, `${name}: ${scores[name]}, ${expected[name]}`);
  }
});
