import type { Direction } from './files.js';
import { CUTOFFS, type DirectionResult, type Recall, type RetrievalResult } from './retrieval.js';
import { publishedRecall, type Setup } from './retrievalBenchmarks.js';
import { bootstrapIntervals, type Interval, meanOf, type PairedTest, pairedTests } from './statistics.js';

export const directions = ['textToImage', 'imageToText'] as const satisfies readonly Direction[];

/** The recalls of a direction by their names in scores.json. */
export const measures = ['r1', 'r5', 'r10', 'meanRecall'] as const;
export type Measure = (typeof measures)[number];

/** What scores.json says of a direction. Recall is in percent. */
export interface DirectionSummary extends Record<Measure, number> {
  /** null where most queries have no true candidate */
  medianRank: number | null;
  queries: number;
  pool: number;
  /** 95 % bootstrap intervals over the queries */
  intervals: Record<Measure, Interval>;
  /** what a random order of the pool would reach */
  chance: Record<Measure, number>;
  /** the published result of that model, dataset and setup */
  published?: Partial<Record<Measure, number>>;
}

/** The content of scores.json: one model on one split. */
export interface RetrievalSummary extends Record<Direction, DirectionSummary> {
  model: string;
  dataset: string;
  split: string;
  setup: Setup;
  /** whose results stand beside these; absent where the model is none of the published */
  publishedModel?: string;
  /** beside the first model of the same dataset, where there are several */
  comparison?: Comparison;
}

/** How a model differs from another on the same queries, in shares, by direction and measure. */
export interface Comparison extends Record<Direction, Record<Measure, PairedTest>> {
  against: string;
}

export type EvaluationName = Omit<RetrievalSummary, Direction | 'comparison'>;

/** Gathers scores with their intervals and the published result. */
export function summarize(name: EvaluationName, result: RetrievalResult): RetrievalSummary {
  const { dataset, split, setup, publishedModel } = name;
  const of = (direction: Direction): DirectionSummary => {
    const published = publishedModel && publishedRecall(dataset, split, setup, direction, publishedModel);
    return {
      ...summarizeDirection(result[direction]),
      ...(published && { published: Object.fromEntries(published.map((value, i) => [measures[i], value])) }),
    };
  };
  return { ...name, textToImage: of('textToImage'), imageToText: of('imageToText') };
}

/** Compares two models on the same queries: paired bootstrap intervals, and McNemar's test for each recall@k. */
export function compareModels(against: string, first: RetrievalResult, second: RetrievalResult): Comparison {
  const of = (direction: Direction) => {
    const [ours, theirs] = [second, first].map((result) => queryValues(result[direction].ranks));
    return pairedTests(ours, theirs);
  };
  return { against, textToImage: of('textToImage'), imageToText: of('imageToText') };
}

function summarizeDirection({ scores, ranks }: DirectionResult): Omit<DirectionSummary, 'published'> {
  const { medianRank, queryCount, poolSize, chance } = scores;
  const values = queryValues(ranks);
  const intervals = bootstrapIntervals(
    values.r1.length,
    perMeasure((measure) => meanOf(values[measure])),
  );
  return {
    ...recallByMeasure(scores),
    medianRank: Number.isFinite(medianRank) ? medianRank : null,
    queries: queryCount,
    pool: poolSize,
    intervals: perMeasure((measure) => {
      const { low, high } = intervals[measure];
      return { low: 100 * low, high: 100 * high };
    }),
    chance: recallByMeasure(chance),
  };
}

/** What each annotated query adds to the mean that a measure is: 0 or 1 for recall@k. */
function queryValues(ranks: Float64Array): Record<Measure, Float64Array> {
  const scored = ranks.filter((rank) => !Number.isNaN(rank));
  const hits = CUTOFFS.map((k) => scored.map((rank) => (rank <= k ? 1 : 0)));
  const mean = scored.map((_, i) => hits.reduce((sum, hit) => sum + hit[i], 0) / hits.length);
  return { r1: hits[0], r5: hits[1], r10: hits[2], meanRecall: mean };
}

function recallByMeasure({ recallAt1, recallAt5, recallAt10, meanRecall }: Recall): Record<Measure, number> {
  return { r1: recallAt1, r5: recallAt5, r10: recallAt10, meanRecall };
}

function perMeasure<T>(of: (measure: Measure) => T): Record<Measure, T> {
  return Object.fromEntries(measures.map((measure) => [measure, of(measure)])) as Record<Measure, T>;
}
