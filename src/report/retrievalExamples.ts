import type { Dataset } from '../data/dataset.js';
import type { DirectionResult } from '../eval/retrieval.js';
import type { SplitEvaluation } from '../eval/split.js';
import type { PictureExample, QueryExample } from './queries.js';
import { thumbnail } from './thumbnail.js';

/** Queries of both directions that went best and worst. */
export interface RetrievalExamples {
  textToImage: { best: QueryExample[]; worst: QueryExample[] };
  imageToText: { best: PictureExample[]; worst: PictureExample[] };
}

const SHOWN_QUERIES = 6;
/** Results shown for a query, the right one that it missed included. */
const SHOWN_RESULTS = 5;
const THUMBNAIL_SIDE = 160;

/** Gathers them with their pictures. @throws UserError where a picture can't be read any more */
export async function gatherExamples(
  { texts, imageIds, textToImage, imageToText }: SplitEvaluation,
  dataset: Dataset,
): Promise<RetrievalExamples> {
  const imageRow = new Map(imageIds.map((id, row) => [id, row]));
  const textOf = new Map(texts.map(({ textId, text }) => [textId, text]));
  const textsOfImage = new Map<string | number, Set<string | number>>();
  for (const { textId, imageIds } of texts) {
    for (const id of imageIds) textsOfImage.set(id, (textsOfImage.get(id) ?? new Set()).add(textId));
  }
  const picture = async (id: string | number) => {
    const { bytes } = await dataset.image(imageRow.get(id)!);
    return { id, image: await thumbnail(bytes, THUMBNAIL_SIDE) };
  };
  const textQuery = async (query: number): Promise<QueryExample> => {
    const { text, imageIds: trueIds } = texts[query];
    const rankOfTrue = textToImage.ranks[query];
    const isMissed = rankOfTrue > SHOWN_RESULTS;
    const shown = textToImage.predictions[query].candidateIds.slice(0, SHOWN_RESULTS - (isMissed ? 1 : 0));
    return {
      text,
      rankOfTrue,
      results: await Promise.all(
        shown.map(async (id) => ({ ...(await picture(id)), correct: trueIds.includes(id) })),
      ),
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
      results: shown.map((id) => ({ text: textOf.get(id)!, correct: trueIds.has(id) })),
      ...(rankOfTrue > SHOWN_RESULTS && { missed: textOf.get(firstTrue)! }),
    };
  };
  const ofText = extremes(textToImage);
  const ofImage = extremes(imageToText);
  return {
    textToImage: {
      best: await Promise.all(ofText.best.map(textQuery)),
      worst: await Promise.all(ofText.worst.map(textQuery)),
    },
    imageToText: {
      best: await Promise.all(ofImage.best.map(imageQuery)),
      worst: await Promise.all(ofImage.worst.map(imageQuery)),
    },
  };
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
