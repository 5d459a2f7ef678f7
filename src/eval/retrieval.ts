import { UserError } from '../errors.js';
import { searchWithRanks, type TopK, type TrueRows, topK } from './ranking.js';

/** An image's or text's id, number or string as the data has it: 5 and "5" are different ids. */
export type Id = number | string;

/** A text and the images that it truly describes (none where that is unknown, as in a test split). */
export interface TextAnnotation {
  textId: Id;
  imageIds: readonly Id[];
}

/** An image and the texts that truly describe it. */
export interface ImageAnnotation {
  imageId: Id;
  textIds: readonly Id[];
}

/** A query and what was retrieved for it, best first. */
export interface Prediction {
  queryId: Id;
  candidateIds: Id[];
}

/** Recall in percent, from 0 to 100. */
export interface Recall {
  recallAt1: number;
  recallAt5: number;
  recallAt10: number;
  /** The mean of the three. */
  meanRecall: number;
}

/** Recall over all annotated queries, beside what a random order of the pool would reach. */
export interface Scores extends Recall {
  /** Median over the queries of the rank, from 1, of the first true candidate; Infinity where most have none. */
  medianRank: number;
  chance: Recall;
  /** Queries that were scored. */
  queryCount: number;
  /** Candidates that were searched. */
  poolSize: number;
}

export interface DirectionResult {
  scores: Scores;
  /** One for every query, also for those without annotation, in the order given. */
  predictions: Prediction[];
  /** Inner products of the predicted candidates, [queries, k]. */
  predictionScores: Float32Array;
  /**
   * Of every query, the rank from 1 of the first true candidate in the whole pool: Infinity where it has none, NaN
   * where the query is not annotated.
   */
  ranks: Float64Array;
}

export interface RetrievalResult {
  textToImage: DirectionResult;
  imageToText: DirectionResult;
}

export interface RetrievalInput {
  imageIds: readonly Id[];
  /** float32 [images, dimension], normalised: the search is by plain inner product. */
  imageFeatures: Float32Array;
  texts: readonly TextAnnotation[];
  /** float32 [texts, dimension], normalised, in the order of `texts`. */
  textFeatures: Float32Array;
  dimension: number;
}

/** Retrieved per query, as in the reference's prediction files. */
const TOP_K = 10;
/** The k of recall@k. */
export const CUTOFFS = [1, 5, 10] as const;

/**
 * Retrieval in both directions over the full pool, as the reference's evaluation computes it.
 *
 * A query counts at k where any of its true candidates is among its first k. Text→image runs over all texts; one
 * without true images is a miss. Image→text runs over the images that some text names; the others are in the pool
 * of text→image only. A pool of fewer than ten candidates, which the reference refuses, is searched whole.
 *
 * @throws UserError where ids repeat, a text names an image outside the pool, no text names an image, or the
 * features do not fit the ids
 */
export async function evaluateRetrieval(input: RetrievalInput): Promise<RetrievalResult> {
  const { imageIds, imageFeatures, texts, textFeatures, dimension } = input;
  const textIds = texts.map((text) => text.textId);
  requireRows('image', imageIds, imageFeatures, dimension);
  requireRows('text', textIds, textFeatures, dimension);
  const pool = new Set(imageIds);
  for (const { textId, imageIds: trueIds } of texts) {
    for (const id of trueIds) {
      if (!pool.has(id)) {
        throw new UserError(
          `text ${show(textId)} names image ${show(id)}, which is not among the ${imageIds.length} images: ` +
            'evaluate with the images of the same split, and write ids in both as numbers or in both as strings',
        );
      }
    }
  }
  if (texts.every((text) => text.imageIds.length === 0)) {
    throw new UserError(
      'no text names a true image, so there is nothing to score: this split has predictions only',
    );
  }
  const textsOfImage = new Map(invertAnnotation(texts).map((image) => [image.imageId, image.textIds]));
  const search = async (
    queryIds: readonly Id[],
    queryFeatures: Float32Array,
    candidateIds: readonly Id[],
    candidateFeatures: Float32Array,
    truth: readonly (readonly Id[] | undefined)[],
  ): Promise<DirectionResult> => {
    const rowOf = new Map(candidateIds.map((id, row) => [id, row]));
    const trueRows = truth.map((ids): TrueRows => ids && [...new Set(ids)].map((id) => rowOf.get(id)!));
    const found = await searchWithRanks(queryFeatures, candidateFeatures, dimension, TOP_K, trueRows);
    return {
      scores: scoreRanks(found.ranks, trueRows, candidateIds.length),
      predictions: predictionsOf(found, queryIds, candidateIds),
      predictionScores: found.scores,
      ranks: found.ranks,
    };
  };
  return {
    textToImage: await search(
      textIds,
      textFeatures,
      imageIds,
      imageFeatures,
      texts.map((text) => text.imageIds),
    ),
    imageToText: await search(
      imageIds,
      imageFeatures,
      textIds,
      textFeatures,
      imageIds.map((id) => textsOfImage.get(id)),
    ),
  };
}

/**
 * The first ten candidates of every query by inner product (all of them where there are fewer).
 *
 * @param queryFeatures float32 [queries, dimension]
 * @param candidateFeatures float32 [candidates, dimension]
 */
export async function predict(
  queryIds: readonly Id[],
  queryFeatures: Float32Array,
  candidateIds: readonly Id[],
  candidateFeatures: Float32Array,
  dimension: number,
): Promise<Prediction[]> {
  return predictionsOf(
    await topK(queryFeatures, candidateFeatures, dimension, TOP_K),
    queryIds,
    candidateIds,
  );
}

function predictionsOf(
  { k, indices }: TopK,
  queryIds: readonly Id[],
  candidateIds: readonly Id[],
): Prediction[] {
  return queryIds.map((queryId, query) => ({
    queryId,
    candidateIds: Array.from(indices.subarray(query * k, (query + 1) * k), (row) => candidateIds[row]),
  }));
}

/** Recall@1/5/10, their mean and the median rank over the annotated queries: those whose rank is a number. */
function scoreRanks(ranks: Float64Array, trueRows: readonly TrueRows[], poolSize: number): Scores {
  const scored = ranks.filter((rank) => !Number.isNaN(rank));
  const hits = CUTOFFS.map((k) => scored.filter((rank) => rank <= k).length);
  const chances = CUTOFFS.map((k) =>
    trueRows.reduce(
      (sum, rows) => (rows === undefined ? sum : sum + chanceOfHit(k, rows.length, poolSize)),
      0,
    ),
  );
  return {
    ...recallFrom(hits, scored.length),
    medianRank: median(scored),
    chance: recallFrom(chances, scored.length),
    queryCount: scored.length,
    poolSize,
  };
}

/** Of an even number of values, the mean of the middle two. */
function median(values: Float64Array): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The annotation seen from the images: each image that a text names, with those texts. Images come in the order in
 * which they are first named, texts in their own: the order of the reference's `.tr.jsonl` files.
 */
export function invertAnnotation(texts: readonly TextAnnotation[]): ImageAnnotation[] {
  const textsOfImage = new Map<Id, Id[]>();
  for (const { textId, imageIds } of texts) {
    for (const imageId of imageIds) {
      const textIds = textsOfImage.get(imageId);
      if (textIds) textIds.push(textId);
      else textsOfImage.set(imageId, [textId]);
    }
  }
  return Array.from(textsOfImage, ([imageId, textIds]) => ({ imageId, textIds }));
}

/** The chance that the first k of a random order hold one of the true candidates: k / pool for a single one. */
function chanceOfHit(k: number, trueCount: number, poolSize: number): number {
  let miss = 1;
  for (let i = 0; i < Math.min(k, poolSize); i++)
    miss *= Math.max(0, poolSize - trueCount - i) / (poolSize - i);
  return 1 - miss;
}

/** Averages fractions before scaling to percent, in the reference's order of operations: equal to the last bit. */
function recallFrom(hits: readonly number[], queries: number): Recall {
  const [at1, at5, at10] = hits.map((count) => count / queries);
  return {
    recallAt1: at1 * 100,
    recallAt5: at5 * 100,
    recallAt10: at10 * 100,
    meanRecall: ((at1 + at5 + at10) / 3) * 100,
  };
}

function requireRows(name: string, ids: readonly Id[], features: Float32Array, dimension: number): void {
  if (features.length !== ids.length * dimension) {
    throw new UserError(
      `${ids.length} ${name} ids need ${ids.length * dimension} feature values of dimension ${dimension}; ` +
        `there are ${features.length}`,
    );
  }
  const seen = new Set<Id>();
  for (const id of ids) {
    if (seen.has(id)) throw new UserError(`${name} id ${show(id)} occurs twice: ids must be unique`);
    seen.add(id);
  }
}

/** An id as JSON, so that the number 5 and the string "5" can be told apart. */
function show(id: Id): string {
  return JSON.stringify(id);
}
