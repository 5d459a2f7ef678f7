import { UserError } from '../errors.js';
import { topK } from './ranking.js';

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
export async function evaluateRetrieval(input: RetrievalInput): Promise<{
  textToImage: DirectionResult;
  imageToText: DirectionResult;
}> {
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
  const imagesOfText = new Map(texts.map((text) => [text.textId, text.imageIds]));
  const textsOfImage = new Map(invertAnnotation(texts).map((image) => [image.imageId, image.textIds]));
  if (textsOfImage.size === 0) {
    throw new UserError(
      'no text names a true image, so there is nothing to score: this split has predictions only',
    );
  }
  const textToImage = await predict(textIds, textFeatures, imageIds, imageFeatures, dimension);
  const imageToText = await predict(imageIds, imageFeatures, textIds, textFeatures, dimension);
  return {
    textToImage: {
      scores: scorePredictions(textToImage, imagesOfText, imageIds.length),
      predictions: textToImage,
    },
    imageToText: {
      scores: scorePredictions(imageToText, textsOfImage, textIds.length),
      predictions: imageToText,
    },
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
  const { k, indices } = await topK(queryFeatures, candidateFeatures, dimension, TOP_K);
  return queryIds.map((queryId, query) => ({
    queryId,
    candidateIds: Array.from(indices.subarray(query * k, (query + 1) * k), (row) => candidateIds[row]),
  }));
}

/**
 * Recall@1/5/10 and their mean, over the annotated queries: those in `truth`, with or without true candidates.
 *
 * @throws UserError where `truth` is empty or has a query without a prediction
 */
export function scorePredictions(
  predictions: readonly Prediction[],
  truth: ReadonlyMap<Id, readonly Id[]>,
  poolSize: number,
): Scores {
  if (truth.size === 0) throw new UserError('there is no annotated query to score');
  const predicted = new Map(predictions.map((prediction) => [prediction.queryId, prediction.candidateIds]));
  const hits = [0, 0, 0];
  const chances = [0, 0, 0];
  for (const [queryId, trueList] of truth) {
    const candidateIds = predicted.get(queryId);
    if (candidateIds === undefined) throw new UserError(`query ${show(queryId)} has no prediction`);
    const trueIds = new Set(trueList);
    const first = candidateIds.findIndex((id) => trueIds.has(id));
    [1, 5, 10].forEach((k, i) => {
      if (first !== -1 && first < k) hits[i]++;
      chances[i] += chanceOfHit(k, trueIds.size, poolSize);
    });
  }
  return {
    ...recallFrom(hits, truth.size),
    chance: recallFrom(chances, truth.size),
    queryCount: truth.size,
    poolSize,
  };
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
