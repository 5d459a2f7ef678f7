import { UserError } from '../errors.js';
import { BlockProducts, GROUP_SIZE, type Visit } from './blockProducts.js';

/** The best candidates of every query, best first. Row q lies at [q·k, (q+1)·k). */
export interface TopK {
  /** Candidates kept per query: the k asked for, or the number of candidates where there are fewer. */
  k: number;
  /** Candidate rows, [m, k]. */
  indices: Int32Array;
  /** Their inner products with the query, [m, k]. */
  scores: Float32Array;
}

/** Rows of the true candidates of a query; undefined where they are unknown. */
export type TrueRows = readonly number[] | undefined;

/**
 * Exact search by inner product among candidates that stay the same.
 *
 * Products are summed in float64 in the order of the dimensions and rounded to float32, so equal features score
 * equal wherever they stand. Of equal scores the earlier candidate comes first, as in the reference (a stable sort
 * by descending score). ONNX Runtime multiplies blocks in float32 first; only candidates that could be among the
 * best, given how far a float32 product can be off, are scored in float64. Besides the result, memory does not
 * depend on the number of queries and candidates.
 */
export class Search {
  private constructor(
    private readonly candidates: Float32Array,
    private readonly dimension: number,
    private readonly products: BlockProducts,
  ) {}

  /**
   * @param candidates float32 [n, dimension]; they are not copied
   * @throws UserError where a feature is not finite or the length is no multiple of the dimension
   */
  static async open(candidates: Float32Array, dimension: number): Promise<Search> {
    countRows(candidates, dimension, 'candidate');
    return new Search(candidates, dimension, await BlockProducts.open(candidates, dimension));
  }

  /**
   * For each of the m queries, its k best candidates. One call at a time.
   *
   * @param queries float32 [m, dimension]
   * @param onBlock told how many of the m·n products are done
   * @throws UserError as `open`, for the queries
   */
  async topK(queries: Float32Array, k: number, onBlock?: (done: number) => void): Promise<TopK> {
    const best = keepBest(queries, this.candidates, this.dimension, k);
    await this.products.multiply(queries, [best.visit], onBlock);
    return best.result;
  }

  /**
   * `topK`, and with the same products the rank, from 1, of the best of each query's true candidates in the full
   * ordering: the smallest k at which recall@k counts the query. Scores and ties as in `topK`.
   *
   * @param trueRows of each query
   * @returns also `ranks`, [m]: Infinity for a query without true candidates, NaN where they are unknown
   * @throws UserError as `topK`; RangeError where a true row is none of the candidates
   */
  async withRanks(
    queries: Float32Array,
    k: number,
    trueRows: readonly TrueRows[],
  ): Promise<TopK & { ranks: Float64Array }> {
    const best = keepBest(queries, this.candidates, this.dimension, k);
    const ranked = countBetter(queries, this.candidates, this.dimension, trueRows);
    await this.products.multiply(queries, [best.visit, ranked.visit]);
    return { ...best.result, ranks: ranked.ranks };
  }

  dispose(): Promise<void> {
    return this.products.dispose();
  }
}

/** One search: see `Search.topK`. @throws UserError as `Search.open` */
export function topK(
  queries: Float32Array,
  candidates: Float32Array,
  dimension: number,
  k: number,
  onBlock?: (done: number) => void,
): Promise<TopK> {
  return searchOnce(candidates, dimension, (search) => search.topK(queries, k, onBlock));
}

/** One search: see `Search.withRanks`. @throws UserError as `Search.open` */
export function searchWithRanks(
  queries: Float32Array,
  candidates: Float32Array,
  dimension: number,
  k: number,
  trueRows: readonly TrueRows[],
): Promise<TopK & { ranks: Float64Array }> {
  return searchOnce(candidates, dimension, (search) => search.withRanks(queries, k, trueRows));
}

async function searchOnce<T>(
  candidates: Float32Array,
  dimension: number,
  use: (search: Search) => Promise<T>,
): Promise<T> {
  const search = await Search.open(candidates, dimension);
  try {
    return await use(search);
  } finally {
    await search.dispose();
  }
}

/** Keeps the k best candidates of each query while products are visited. */
function keepBest(
  queries: Float32Array,
  candidates: Float32Array,
  dimension: number,
  k: number,
): { visit: Visit; result: TopK } {
  const queryCount = countRows(queries, dimension, 'query');
  if (!Number.isInteger(k) || k < 1) throw new UserError(`topK: k is ${k}; expected a whole number from 1`);
  const kept = Math.min(k, candidates.length / dimension);
  const indices = new Int32Array(queryCount * kept);
  const scores = new Float32Array(queryCount * kept);
  const visit: Visit = ({ query, first, products, start, columns, maxima, firstGroup, margin }) => {
    const last = (query + 1) * kept - 1;
    // The worst of the kept scores; nothing is refused while there are fewer than k.
    let bound = first >= kept ? scores[last] - margin : Number.NEGATIVE_INFINITY;
    for (let begin = 0, group = firstGroup; begin < columns; begin += GROUP_SIZE, group++) {
      if (maxima[group] < bound) continue;
      const end = Math.min(begin + GROUP_SIZE, columns);
      for (let column = begin; column < end; column++) {
        if (products[start + column] < bound) continue;
        const row = first + column;
        const score = innerProduct(queries, query, candidates, row, dimension);
        keepIfBest(indices, scores, query * kept, kept, row, score);
        if (row >= kept - 1) bound = scores[last] - margin;
      }
    }
  };
  return { visit, result: { k: kept, indices, scores } };
}

/** Counts the candidates that come before each query's best true one while products are visited. */
function countBetter(
  queries: Float32Array,
  candidates: Float32Array,
  dimension: number,
  trueRows: readonly TrueRows[],
): { visit: Visit; ranks: Float64Array } {
  const ranks = new Float64Array(trueRows.length);
  const bestRow = new Int32Array(trueRows.length).fill(-1);
  const bestScore = new Float32Array(trueRows.length);
  const candidateCount = candidates.length / dimension;
  const score = (query: number, row: number) => innerProduct(queries, query, candidates, row, dimension);
  for (const [query, rows] of trueRows.entries()) {
    ranks[query] = rows === undefined ? Number.NaN : rows.length === 0 ? Number.POSITIVE_INFINITY : 1;
    for (const row of rows ?? []) {
      if (!Number.isInteger(row) || row < 0 || row >= candidateCount) {
        throw new RangeError(`true row ${row} of query ${query}: expected 0 to ${candidateCount - 1}`);
      }
      const found = score(query, row);
      const isFirst = bestRow[query] < 0 || found > bestScore[query];
      if (!isFirst && (found < bestScore[query] || row > bestRow[query])) continue;
      bestRow[query] = row;
      bestScore[query] = found;
    }
  }
  const visit: Visit = ({ query, first, products, start, columns, maxima, firstGroup, margin }) => {
    const best = bestRow[query];
    if (best < 0) return;
    const threshold = bestScore[query];
    const low = threshold - margin;
    const high = threshold + margin;
    let better = 0;
    for (let begin = 0, group = firstGroup; begin < columns; begin += GROUP_SIZE, group++) {
      if (maxima[group] < low) continue;
      const end = Math.min(begin + GROUP_SIZE, columns);
      for (let column = begin; column < end; column++) {
        const product = products[start + column];
        if (product < low) continue;
        if (product > high) {
          better++;
          continue;
        }
        const row = first + column;
        if (row === best) continue;
        const found = score(query, row);
        if (found > threshold || (found === threshold && row < best)) better++;
      }
    }
    ranks[query] += better;
  };
  return { visit, ranks };
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

/** The inner product of a query and a candidate, summed in float64 in the order of the dimensions, as a float32. */
export function innerProduct(
  queries: Float32Array,
  query: number,
  candidates: Float32Array,
  candidate: number,
  dimension: number,
): number {
  const queryStart = query * dimension;
  const candidateStart = candidate * dimension;
  let sum = 0;
  for (let i = 0; i < dimension; i++) sum += queries[queryStart + i] * candidates[candidateStart + i];
  return Math.fround(sum);
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
