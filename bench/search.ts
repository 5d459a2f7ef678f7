import * as tf from '@tensorflow/tfjs-core';
import { createEngine } from '../src/engine/select.js';
import { normalize, topK } from '../src/eval/ranking.js';
import { Random } from '../src/random.js';

export interface SearchWorkload {
  queries: number;
  candidates: number;
  dimension: number;
  k: number;
}

export interface SearchMeasurement extends SearchWorkload {
  seconds: number;
  /** of the search: two operations for each term of each product */
  gigaflops: number;
  /** of a plain product of two square matrices on the same engine */
  matrixGigaflops: number;
  /** of the whole process, features included */
  peakMegabytes: number;
}

/** Values of each feature that are drawn; the others repeat them. Drawing a billion would take minutes. */
const DRAWN = 1 << 20;

/** Times the exact search for random unit features, and the matrix product that it comes down to before and after. */
export async function measureSearch(workload: SearchWorkload): Promise<SearchMeasurement> {
  const { queries, candidates, dimension, k } = workload;
  const queryFeatures = randomFeatures(queries, dimension, 'queries');
  const candidateFeatures = randomFeatures(candidates, dimension, 'candidates');
  const before = await measureMatrix();
  const began = performance.now();
  let told = began;
  await topK(queryFeatures, candidateFeatures, dimension, k, (done) => {
    if (performance.now() - told < 10_000) return;
    told = performance.now();
    console.error(`${((100 * done) / (queries * candidates)).toFixed(0)} % searched`);
  });
  const seconds = (performance.now() - began) / 1000;
  const after = await measureMatrix();
  return {
    ...workload,
    seconds,
    gigaflops: (2 * queries * candidates * dimension) / seconds / 1e9,
    matrixGigaflops: Math.max(before, after),
    peakMegabytes: process.resourceUsage().maxRSS / 1024,
  };
}

function randomFeatures(rows: number, dimension: number, name: string): Float32Array {
  const random = new Random(0, name);
  const features = new Float32Array(rows * dimension);
  for (let i = 0; i < Math.min(DRAWN, features.length); i++) features[i] = random.normal();
  // A prime shift, so that no two rows are equal.
  const shift = DRAWN - 3;
  for (let i = DRAWN; i < features.length; i++) features[i] = features[i - shift] * (i & 64 ? -1 : 1);
  return normalize(features, dimension);
}

/** The best of ten products of two matrices of 2,048 × 2,048. */
async function measureMatrix(): Promise<number> {
  const side = 2048;
  const engine = await createEngine();
  const multiply = await engine.compile(
    ({ a, b }) => ({ product: tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D) }),
    {
      inputs: {
        a: { shape: ['rows', side], dtype: 'float32' },
        b: { shape: [side, side], dtype: 'float32' },
      },
    },
  );
  const matrix = { shape: [side, side], data: new Float32Array(side * side).fill(0.5) };
  const product = engine.tensor([side, side]);
  let best = Infinity;
  for (let i = 0; i < 10; i++) {
    const began = performance.now();
    await multiply.run({ a: matrix, b: matrix }, { product });
    best = Math.min(best, performance.now() - began);
  }
  product.dispose();
  await multiply.dispose();
  await engine.dispose();
  return (2 * side ** 3) / best / 1e6;
}
