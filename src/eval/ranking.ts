import * as tf from '@tensorflow/tfjs-core';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';

/** The best candidates of every query, best first. Row q lies at [q·k, (q+1)·k). */
export interface TopK {
  /** Candidates kept per query: the k asked for, or the number of candidates where there are fewer. */
  k: number;
  /** Candidate rows, [m, k]. */
  indices: Int32Array;
  /** Their inner products with the query, [m, k]. */
  scores: Float32Array;
}

/** Queries and candidates whose products are computed together. */
const QUERY_BLOCK = 256;
const CANDIDATE_BLOCK = 8192;

/**
 * Exact search by inner product: for each of the m queries, its k best among the n candidates.
 *
 * Products are summed in float64 in the order of the dimensions and rounded to float32, so equal features score
 * equal wherever they stand. Of equal scores the earlier candidate comes first, as in the reference (a stable sort
 * by descending score). ONNX Runtime multiplies blocks in float32 first; only candidates that could be among the
 * best, given how far a float32 product can be off, are scored in float64. Besides the result, memory does not
 * depend on m or n.
 *
 * @param queries float32 [m, dimension]
 * @param candidates float32 [n, dimension]
 * @param onBlock told how many of the m·n products are done
 * @throws UserError where a feature is not finite or a length is no multiple of the dimension
 */
export async function topK(
  queries: Float32Array,
  candidates: Float32Array,
  dimension: number,
  k: number,
  onBlock: (done: number) => void = () => {},
): Promise<TopK> {
  const queryCount = countRows(queries, dimension, 'query');
  const candidateCount = countRows(candidates, dimension, 'candidate');
  if (!Number.isInteger(k) || k < 1) throw new UserError(`topK: k is ${k}; expected a whole number from 1`);
  const kept = Math.min(k, candidateCount);
  const indices = new Int32Array(queryCount * kept);
  const scores = new Float32Array(queryCount * kept);
  if (kept === 0 || queryCount === 0) return { k: kept, indices, scores };

  const candidateNorm = largestNorm(candidates, dimension);
  const exact = new Float32Array(1);
  const engine = await createEngine();
  const multiply = await engine.compile(
    (inputs) => ({
      products: tf.matMul(inputs.queries as tf.Tensor2D, inputs.candidates as tf.Tensor2D, false, true),
    }),
    {
      inputs: {
        queries: { shape: ['queries', dimension], dtype: 'float32' },
        candidates: { shape: ['candidates', dimension], dtype: 'float32' },
      },
    },
  );
  // Fresh memory for each block would cost more than the products.
  const reused = engine.tensor([QUERY_BLOCK, CANDIDATE_BLOCK]);
  try {
    let done = 0;
    for (let firstQuery = 0; firstQuery < queryCount; firstQuery += QUERY_BLOCK) {
      const block = rowsOf(queries, firstQuery, QUERY_BLOCK, dimension);
      const margins = Array.from({ length: block.shape[0] }, (_, i) =>
        productError(norm(queries, (firstQuery + i) * dimension, dimension), candidateNorm, dimension),
      );
      for (let first = 0; first < candidateCount; first += CANDIDATE_BLOCK) {
        const part = rowsOf(candidates, first, CANDIDATE_BLOCK, dimension);
        const columns = part.shape[0];
        const feeds = { queries: block, candidates: part };
        let products = reused.read();
        if (margins.length * columns === products.length) await multiply.run(feeds, { products: reused });
        else products = (await multiply.run(feeds)).products.data as Float32Array;
        for (let i = 0; i < margins.length; i++) {
          const query = firstQuery + i;
          const start = query * kept;
          // The worst of the kept scores; nothing is refused while there are fewer than k.
          let bound = first >= kept ? scores[start + kept - 1] - margins[i] : Number.NEGATIVE_INFINITY;
          for (let column = 0; column < columns; column++) {
            if (products[i * columns + column] < bound) continue;
            const row = first + column;
            scoreRows(queries, query * dimension, candidates, row * dimension, 1, dimension, exact);
            keepIfBest(indices, scores, start, kept, row, exact[0]);
            if (row >= kept - 1) bound = scores[start + kept - 1] - margins[i];
          }
        }
        done += margins.length * columns;
        onBlock(done);
      }
    }
  } finally {
    reused.dispose();
    await multiply.dispose();
    await engine.dispose();
  }
  return { k: kept, indices, scores };
}

/**
 * How far a float32 inner product, summed in any order, can be from the exact one, with the last rounding of the exact
 * one: the classical bound dimension · u / (1 − dimension · u) · |q|·|c|, u = 2^-24 (Higham, Accuracy and Stability of
 * Numerical Algorithms, chapter 3), and what underflows.
 */
function productError(queryNorm: number, candidateNorm: number, dimension: number): number {
  const relative = ((dimension + 1) * 2 ** -24) / (1 - (dimension + 1) * 2 ** -24);
  return relative * queryNorm * candidateNorm + dimension * 2 ** -149;
}

function norm(features: Float32Array, start: number, dimension: number): number {
  let squares = 0;
  for (let i = start; i < start + dimension; i++) squares += features[i] * features[i];
  return Math.sqrt(squares);
}

function largestNorm(features: Float32Array, dimension: number): number {
  let largest = 0;
  for (let start = 0; start < features.length; start += dimension)
    largest = Math.max(largest, norm(features, start, dimension));
  return largest;
}

/** At most `count` rows from `first` on, as a view. */
function rowsOf(features: Float32Array, first: number, count: number, dimension: number) {
  const data = features.subarray(first * dimension, (first + count) * dimension);
  return { shape: [data.length / dimension, dimension] as const, data };
}

/**
 * The rank, from 1, of the best of the true candidates in one query's full ordering: the smallest k at which
 * recall@k counts the query. Scores and ties as in `topK`.
 *
 * @param query float32 [dimension]
 * @param candidates float32 [n, dimension]
 * @param trueRows rows of the true candidates, at least one
 * @throws UserError where there is no true candidate, one is out of range, or a feature is not finite
 */
export function rankOfBestTrue(
  query: Float32Array,
  candidates: Float32Array,
  dimension: number,
  trueRows: readonly number[],
): number {
  countRows(query, dimension, 'query');
  const count = countRows(candidates, dimension, 'candidate');
  if (trueRows.length === 0 || trueRows.some((row) => !Number.isInteger(row) || row < 0 || row >= count)) {
    throw new UserError(`rankOfBestTrue: expected true rows within 0 to ${count - 1}, got [${trueRows}]`);
  }
  const scores = new Float32Array(count);
  scoreRows(query, 0, candidates, 0, count, dimension, scores);
  let best = trueRows[0];
  for (const row of trueRows) {
    if (scores[row] > scores[best] || (scores[row] === scores[best] && row < best)) best = row;
  }
  let rank = 1;
  for (let row = 0; row < count; row++) {
    if (scores[row] > scores[best] || (scores[row] === scores[best] && row < best)) rank++;
  }
  return rank;
}

/**
 * Features scaled to unit length, in a new array: the reference's `x / x.norm(dim=-1)`.
 *
 * @param features float32 [n, dimension]
 * @throws UserError naming the row where a feature is not finite or a row is all zero
 */
export function normalize(features: Float32Array, dimension: number): Float32Array {
  const rows = countRows(features, dimension, 'feature');
  const normalized = new Float32Array(features.length);
  for (let row = 0; row < rows; row++) {
    const start = row * dimension;
    let squares = 0;
    for (let i = start; i < start + dimension; i++) squares += features[i] * features[i];
    if (squares === 0) throw new UserError(`normalize: feature row ${row} is all zero and has no direction`);
    const norm = Math.sqrt(squares);
    for (let i = start; i < start + dimension; i++) normalized[i] = features[i] / norm;
  }
  return normalized;
}

/** Inner products of one query with `rows` consecutive candidate rows, into `scores`. */
function scoreRows(
  queries: Float32Array,
  queryStart: number,
  candidates: Float32Array,
  candidateStart: number,
  rows: number,
  dimension: number,
  scores: Float32Array,
): void {
  let row = 0;
  // Four rows share each load of the query. Every row still sums in the same order.
  for (; row + 4 <= rows; row += 4) {
    const start0 = candidateStart + row * dimension;
    const start1 = start0 + dimension;
    const start2 = start1 + dimension;
    const start3 = start2 + dimension;
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    for (let i = 0; i < dimension; i++) {
      const value = queries[queryStart + i];
      sum0 += value * candidates[start0 + i];
      sum1 += value * candidates[start1 + i];
      sum2 += value * candidates[start2 + i];
      sum3 += value * candidates[start3 + i];
    }
    scores[row] = sum0;
    scores[row + 1] = sum1;
    scores[row + 2] = sum2;
    scores[row + 3] = sum3;
  }
  for (; row < rows; row++) {
    const start = candidateStart + row * dimension;
    let sum = 0;
    for (let i = 0; i < dimension; i++) sum += queries[queryStart + i] * candidates[start + i];
    scores[row] = sum;
  }
}

/**
 * Inserts a candidate into a query's sorted list of at most k. Candidates must come in ascending order: then the
 * list holds min(candidate, k) entries, and passing over equal scores keeps the earlier one first.
 */
function keepIfBest(
  indices: Int32Array,
  scores: Float32Array,
  start: number,
  k: number,
  candidate: number,
  score: number,
): void {
  const full = candidate >= k;
  if (full && scores[start + k - 1] >= score) return;
  let place = start + (full ? k - 1 : candidate);
  for (; place > start && scores[place - 1] < score; place--) {
    scores[place] = scores[place - 1];
    indices[place] = indices[place - 1];
  }
  scores[place] = score;
  indices[place] = candidate;
}

function countRows(features: Float32Array, dimension: number, name: string): number {
  if (!Number.isInteger(dimension) || dimension < 1 || features.length % dimension !== 0) {
    throw new UserError(`${features.length} ${name} values do not make rows of dimension ${dimension}`);
  }
  for (let i = 0; i < features.length; i++) {
    if (!Number.isFinite(features[i])) {
      const row = Math.floor(i / dimension);
      throw new UserError(
        `${name} row ${row} holds ${features[i]}: features must be finite (did the model diverge?)`,
      );
    }
  }
  return features.length / dimension;
}
