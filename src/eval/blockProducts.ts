import * as tf from '@tensorflow/tfjs-core';
import type { DeviceTensor, Engine, HostTensor, Program } from '../engine/engine.js';
import { createEngine } from '../engine/select.js';

/** Queries and candidates whose products are computed together. Many queries, since each block of them reads all candidates. */
const QUERY_BLOCK = 1024;
const CANDIDATE_BLOCK = 2048;
/** Consecutive candidates whose largest product is known beforehand: most groups need no look at each product. */
export const GROUP_SIZE = 64;
const GROUPS = CANDIDATE_BLOCK / GROUP_SIZE;
const UNKNOWN = new Float32Array(QUERY_BLOCK * GROUPS).fill(Number.POSITIVE_INFINITY);

/** The products of one query with consecutive candidates. */
export interface ProductRow {
  query: number;
  /** the first candidate */
  first: number;
  /** where the products stand: at [start, start + columns) */
  products: Float32Array;
  start: number;
  columns: number;
  /** the largest product of each GROUP_SIZE columns, from `firstGroup` on; Infinity where it is not known */
  maxima: Float32Array;
  firstGroup: number;
  /** how far a product can be from the score, the float64 sum in order rounded to float32 */
  margin: number;
}

/** Told of a query's products, candidates in ascending order. */
export type Visit = (row: ProductRow) => void;

/**
 * Candidates that queries are multiplied with in float32, in blocks with ONNX Runtime. What does not depend on the queries
 * is done once. Memory does not depend on how many there are.
 */
export class BlockProducts {
  private constructor(
    private readonly candidates: Float32Array,
    private readonly dimension: number,
    private readonly candidateNorm: number,
    private readonly engine: Engine,
    /** for whole blocks of candidates, with the maxima of groups */
    private readonly wholeBlocks: Program,
    /** for what is left after them */
    private readonly anyBlock: Program,
    /** Fresh memory for each block would cost more than the products. */
    private readonly reused: DeviceTensor,
  ) {}

  /** @param candidates float32 [n, dimension], finite; they are not copied */
  static async open(candidates: Float32Array, dimension: number): Promise<BlockProducts> {
    const engine = await createEngine();
    const compile = (candidates: number | string, withMaxima: boolean) =>
      engine.compile(
        (inputs) => {
          const queries = inputs.queries as tf.Tensor2D;
          const products = tf.matMul(queries, inputs.candidates as tf.Tensor2D, false, true);
          const results: Record<string, tf.Tensor> = { products };
          if (withMaxima) {
            results.maxima = tf.max(tf.reshape(products, [queries.shape[0], GROUPS, GROUP_SIZE]), 2);
          }
          return results;
        },
        {
          inputs: {
            queries: { shape: ['queries', dimension], dtype: 'float32' },
            candidates: { shape: [candidates, dimension], dtype: 'float32' },
          },
        },
      );
    const wholeBlocks = await compile(CANDIDATE_BLOCK, true);
    const anyBlock = await compile('candidates', false);
    const reused = engine.tensor([QUERY_BLOCK, CANDIDATE_BLOCK]);
    const candidateNorm = largestNorm(candidates, dimension);
    return new BlockProducts(candidates, dimension, candidateNorm, engine, wholeBlocks, anyBlock, reused);
  }

  /**
   * Shows the products of all queries to each of `visits`. Not to be called again before it is done.
   *
   * @param queries float32 [m, dimension], finite
   * @param onBlock told how many of the m·n products are done
   */
  async multiply(
    queries: Float32Array,
    visits: readonly Visit[],
    onBlock: (done: number) => void = () => {},
  ): Promise<void> {
    const { candidates, dimension, candidateNorm } = this;
    const queryCount = queries.length / dimension;
    const candidateCount = candidates.length / dimension;
    let done = 0;
    for (let firstQuery = 0; firstQuery < queryCount; firstQuery += QUERY_BLOCK) {
      const block = rowsOf(queries, firstQuery, QUERY_BLOCK, dimension);
      const margins = Array.from({ length: block.shape[0] }, (_, i) =>
        productError(norm(queries, (firstQuery + i) * dimension, dimension), candidateNorm, dimension),
      );
      for (let first = 0; first < candidateCount; first += CANDIDATE_BLOCK) {
        const part = rowsOf(candidates, first, CANDIDATE_BLOCK, dimension);
        const columns = part.shape[0];
        const { products, maxima } = await this.blockOf({ queries: block, candidates: part });
        for (const [i, margin] of margins.entries()) {
          const start = i * columns;
          const firstGroup = i * GROUPS;
          const row = { query: firstQuery + i, first, products, start, columns, maxima, firstGroup, margin };
          for (const visit of visits) visit(row);
        }
        done += margins.length * columns;
        onBlock(done);
      }
    }
  }

  private async blockOf(feeds: {
    queries: HostTensor;
    candidates: HostTensor;
  }): Promise<{ products: Float32Array; maxima: Float32Array }> {
    const { wholeBlocks, anyBlock, reused } = this;
    if (feeds.candidates.shape[0] < CANDIDATE_BLOCK) {
      const { products } = await anyBlock.run(feeds);
      return { products: products.data as Float32Array, maxima: UNKNOWN };
    }
    const isFull = feeds.queries.shape[0] === QUERY_BLOCK;
    const { products, maxima } = await wholeBlocks.run(feeds, isFull ? { products: reused } : {});
    return {
      products: isFull ? reused.read() : (products.data as Float32Array),
      maxima: maxima.data as Float32Array,
    };
  }

  async dispose(): Promise<void> {
    this.reused.dispose();
    await this.wholeBlocks.dispose();
    await this.anyBlock.dispose();
    await this.engine.dispose();
  }
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
