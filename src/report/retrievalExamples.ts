import type { Dataset } from '../data/dataset.js';
import { type DirectionResult, invertAnnotation } from '../eval/retrieval.js';
import type { SplitEvaluation } from '../eval/split.js';
import { reportPicture } from './picture.js';
import type { PictureExample, QueryExample } from './queries.js';

/** Queries of both directions that went best and worst. */
export interface RetrievalExamples {
  textToImage: { best: QueryExample[]; worst: QueryExample[] };
  imageToText: { best: PictureExample[]; worst: PictureExample[] };
}

const SHOWN_QUERIES = 6;
/** Results shown for a query, the right one that it missed included. */
const SHOWN_RESULTS = 5;
const THUMBNAIL_SIDE = 160;

/** Gathers them with their pictures. */
export async function gatherExamples(
  { texts, imageIds, textToImage, imageToText }: SplitEvaluation,
  dataset: Pick<Dataset, 'image'>,
): Promise<RetrievalExamples> {
  const imageRow = new Map(imageIds.map((id, row) => [id, row]));
  const textOf = new Map(texts.map(({ textId, text }) => [textId, text]));
  const textsOfImage = new Map(invertAnnotation(texts).map(({ imageId, textIds }) => [imageId, textIds]));
  const picture = async (id: string | number) => {
    const read = async () => (await dataset.image(imageRow.get(id)!)).bytes;
    return { id, image: await reportPicture(read, `picture ${id}`, THUMBNAIL_SIDE) };
  };
  const textQuery = async (query: number): Promise<QueryExample> => {
    const { text, imageIds: trueIds } = texts[query];
    const rankOfTrue = textToImage.ranks[query];
    const isMissed = rankOfTrue > SHOWN_RESULTS;
    const shown = textToImage.predictions[query].candidateIds.slice(0, SHOWN_RESULTS - (isMissed ? 1 : 0));
    const results = await inTurn(shown, async (id) => ({
      ...(await picture(id)),
      correct: trueIds.includes(id),
    }));
    return {
      text,
      rankOfTrue,
      results,
      ...(isMissed && { missed: await picture(trueIds[0]) }),
    };
  };
  const imageQuery = async (query: number): Promise<PictureExample> => {
    const trueIds = textsOfImage.get(imageIds[query])!;
    const rankOfTrue = imageToText.ranks[query];
    const shown = imageToText.predictions[query].candidateIds.slice(0, SHOWN_RESULTS);
    const [firstTrue] = trueIds;
    return {
      ...(await picture(imageIds[query])),
      rankOfTrue,
      results: shown.map((id) => ({ text: textOf.get(id)!, correct: trueIds.includes(id) })),
      ...(rankOfTrue > SHOWN_RESULTS && { missed: textOf.get(firstTrue)! }),
    };
  };
  const ofText = extremes(textToImage);
  const ofImage = extremes(imageToText);
  return {
    textToImage: {
      best: await inTurn(ofText.best, textQuery),
      worst: await inTurn(ofText.worst, textQuery),
    },
    imageToText: {
      best: await inTurn(ofImage.best, imageQuery),
      worst: await inTurn(ofImage.worst, imageQuery),
    },
  };
}

/** One at a time: a decoded picture may be large. */
async function inTurn<T, Result>(items: readonly T[], of: (item: T) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (const item of items) results.push(await of(item));
  return results;
}

/**
 * Queries that have a true candidate: the best are right by the largest distance between first and second, the worst
 * find it last.
 */
function extremes({ ranks, predictions, predictionScores }: DirectionResult): {
  best: number[];
  worst: number[];
} {
  const k = predictions[0].candidateIds.length;
  const lead = (query: number) => (k < 2 ? 0 : predictionScores[query * k] - predictionScores[query * k + 1]);
  const scored = [...ranks.keys()].filter((query) => Number.isFinite(ranks[query]));
  const best = scored.filter((query) => ranks[query] === 1).sort((a, b) => lead(b) - lead(a));
  const worst = scored.filter((query) => ranks[query] > 1).sort((a, b) => ranks[b] - ranks[a]);
  return { best: best.slice(0, SHOWN_QUERIES), worst: worst.slice(0, SHOWN_QUERIES) };
}
