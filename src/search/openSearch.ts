import { join } from 'node:path';
import { UserError } from '../errors.js';
import { Search, type TopK } from '../eval/ranking.js';
import { ApproximateSearch } from './approximateSearch.js';
import { indexFiles, type PictureIndex } from './pictureIndex.js';

export const searchChoices = ['auto', 'exact', 'approximate'] as const;
export type SearchChoice = (typeof searchChoices)[number];

/** More pictures get a graph for approximate search by themselves. */
const LARGEST_EXACT = 100_000;

/** Whether an index of so many pictures is to have a graph. */
export function wantsGraph(choice: SearchChoice, pictures: number): boolean {
  return pictures > 0 && (choice === 'approximate' || (choice === 'auto' && pictures > LARGEST_EXACT));
}

/** Exact or approximate search, among the pictures of one index. */
export interface Searcher {
  topK(queries: Float32Array, k: number): Promise<TopK>;
  dispose(): Promise<void>;
}

/**
 * Opens the search of an index: with its graph where it has one, else exact, unless `choice` says which.
 *
 * @returns also what it is, for people
 * @throws UserError where the graph is damaged, or asked for and not there
 */
export async function openSearch(
  folder: string,
  { manifest, features }: PictureIndex,
  choice: SearchChoice,
): Promise<{ search: Searcher; kind: 'exact' | 'approximate'; description: string }> {
  const { graph, dimension } = manifest;
  if (choice === 'approximate' && graph === undefined) {
    throw new UserError(
      `${folder} has no graph for approximate search: make the index again with --search approximate`,
    );
  }
  if (choice === 'exact' || graph === undefined) {
    return { search: await Search.open(features, dimension), kind: 'exact', description: 'exact search' };
  }
  const search = await ApproximateSearch.open(
    join(folder, indexFiles.graph),
    graph.sha256,
    features,
    dimension,
  );
  return { search, kind: 'approximate', description: describeApproximate(graph.recallAt10) };
}

export function describeApproximate(recallAt10: number): string {
  return `approximate search, recall@10 ${(100 * recallAt10).toFixed(1)} % on its own pictures`;
}
