import { availableParallelism } from 'node:os';
import type { Index } from 'usearch';
import { messageOf, UserError } from '../errors.js';
import { innerProduct, Search, type TopK } from '../eval/ranking.js';
import { Random } from '../random.js';
import { gatherRows } from '../rows.js';
import { checkGraphFile, LINKS } from './graphFile.js';
import type { GraphDescription } from './pictureIndex.js';

/** Candidates that are kept while a place for a new picture is looked for. */
const EXPANSION_ADD = 128;
/** Candidates of a query, of which the best by their exact scores are the result. */
const CANDIDATES = 256;
const ROWS_AT_ONCE = 4096;
const SAMPLED = 500;
const MEASURED_K = 10;

/**
 * Approximate search by inner product: a graph of near neighbours (HNSW, Malkov and Yashunin 2018) gives candidates, whose
 * scores are computed as in `Search`. So scores are exact, and only a picture that is not among the candidates is missed.
 * usearch builds and walks the graph, on vectors rounded to int8; with several threads it differs from time to time.
 */
export class ApproximateSearch {
  private constructor(
    private readonly index: Index,
    private readonly features: Float32Array,
    private readonly dimension: number,
  ) {}

  /**
   * Builds the graph of unit features and writes it to a file.
   *
   * @param features float32 [n, dimension]
   * @param onRows told how many rows are in; false ends the work
   * @returns undefined where it was ended
   * @throws UserError where usearch can't be loaded
   */
  static async build(
    path: string,
    features: Float32Array,
    dimension: number,
    onRows: (done: number) => boolean,
  ): Promise<GraphDescription | undefined> {
    const index = await emptyIndex(dimension);
    const rows = features.length / dimension;
    for (let first = 0; first < rows; first += ROWS_AT_ONCE) {
      const last = Math.min(rows, first + ROWS_AT_ONCE);
      const keys = BigUint64Array.from({ length: last - first }, (_, i) => BigInt(first + i));
      index.add(keys, features.subarray(first * dimension, last * dimension), availableParallelism());
      // Signals come in between.
      await new Promise((resolve) => setImmediate(resolve));
      if (!onRows(last)) return undefined;
    }
    index.save(path);
    const sha256 = checkGraphFile(path, rows, dimension);
    const search = await ApproximateSearch.open(path, sha256, features, dimension);
    return { sha256, recallAt10: await measureRecall(search, features, dimension) };
  }

  /**
   * @param features those that the graph was built of; they are not copied
   * @throws UserError where the file is damaged or another, or usearch can't be loaded
   */
  static async open(
    path: string,
    sha256: string,
    features: Float32Array,
    dimension: number,
  ): Promise<ApproximateSearch> {
    const found = checkGraphFile(path, features.length / dimension, dimension);
    if (found !== sha256) {
      throw new UserError(
        `${path} is not the file that the index was made with (its checksum is another): make the index again, or ` +
          'search with --search exact',
      );
    }
    const index = await emptyIndex(dimension);
    index.load(path);
    return new ApproximateSearch(index, features, dimension);
  }

  /**
   * For each of the m queries, k candidates, best first; scores and ties as in `Search.topK`.
   *
   * @param queries float32 [m, dimension]
   * @throws UserError where the graph leads to fewer than k (pictures without links, as many equal ones have them)
   */
  async topK(queries: Float32Array, k: number): Promise<TopK> {
    const { features, dimension } = this;
    const kept = Math.min(k, features.length / dimension);
    const queryCount = queries.length / dimension;
    const indices = new Int32Array(queryCount * kept);
    const scores = new Float32Array(queryCount * kept);
    for (const [query, keys] of this.candidates(queries, Math.max(CANDIDATES, 2 * kept)).entries()) {
      if (keys.length < kept) {
        throw new UserError(
          `approximate search finds ${keys.length} pictures, not ${kept}: search with --search exact`,
        );
      }
      const found = Array.from(keys, (key) => {
        const row = Number(key);
        return { row, score: innerProduct(queries, query, features, row, dimension) };
      }).sort((a, b) => b.score - a.score || a.row - b.row);
      for (let i = 0; i < kept; i++) {
        indices[query * kept + i] = found[i].row;
        scores[query * kept + i] = found[i].score;
      }
    }
    return { k: kept, indices, scores };
  }

  /** Of each query, best first as far as int8 tells. */
  private candidates(queries: Float32Array, count: number): BigUint64Array[] {
    const vectors = Array.from({ length: queries.length / this.dimension }, (_, i) =>
      queries.subarray(i * this.dimension, (i + 1) * this.dimension),
    );
    // What comes back for one query has another form.
    if (vectors.length === 1) return [this.index.search(vectors[0], count, 1).keys];
    const found = this.index.search(vectors, count, availableParallelism());
    return vectors.map((_, i) => found.get(i).keys);
  }

  /** The graph's memory goes with this object. */
  async dispose(): Promise<void> {}
}

async function emptyIndex(dimension: number): Promise<Index> {
  let usearch: typeof import('usearch');
  try {
    usearch = await import('usearch');
  } catch (error) {
    throw new UserError(
      `approximate search needs usearch, which can't be loaded here (${messageOf(error)}): use --search exact`,
    );
  }
  return new usearch.Index({
    dimensions: dimension,
    metric: usearch.MetricKind.IP,
    quantization: usearch.ScalarKind.I8,
    connectivity: LINKS,
    expansion_add: EXPANSION_ADD,
    expansion_search: CANDIDATES,
    multi: false,
  });
}

/** Of pictures of the index as queries, the picture itself left out. */
async function measureRecall(
  approximate: ApproximateSearch,
  features: Float32Array,
  dimension: number,
): Promise<number> {
  const rows = features.length / dimension;
  const random = new Random(0, 'recall of approximate search');
  const sample = Int32Array.from({ length: SAMPLED }, () => random.integer(rows));
  const queries = gatherRows(features, sample, dimension);
  const exact = await Search.open(features, dimension);
  try {
    const others = ({ k, indices }: TopK, query: number) =>
      Array.from(indices.subarray(query * k, (query + 1) * k))
        .filter((row) => row !== sample[query])
        .slice(0, MEASURED_K);
    const right = await exact.topK(queries, MEASURED_K + 1);
    const found = await approximate.topK(queries, MEASURED_K + 1);
    let hits = 0;
    let all = 0;
    for (const query of sample.keys()) {
      const near = new Set(others(found, query));
      for (const row of others(right, query)) {
        if (near.has(row)) hits++;
        all++;
      }
    }
    return all === 0 ? 1 : hits / all;
  } finally {
    await exact.dispose();
  }
}
