import { join } from 'node:path';
import type { DataSetting } from '../config/data.js';
import type { EvalRetrievalConfig } from '../config/evalRetrieval.js';
import { findSource } from '../data/dataset.js';
import { ensureEmojiDataset } from '../data/emoji.js';
import { partsOf } from '../data/mixedDataset.js';
import { UserError } from '../errors.js';
import { benchmarkFolder, retrievalBenchmark } from '../eval/retrievalBenchmarks.js';
import type { Reporter } from '../io/terminal.js';
import { namesOf } from './names.js';

/** A split that is to be evaluated. */
export interface SplitPlan {
  /** what the table calls it: the name of a benchmark, or the paths of other data */
  name: string;
  data: DataSetting;
  split: string;
}

/** The dataset that can be built here. */
const EMOJI = 'emoji-cn';

/**
 * Finds the splits that a command names. Emoji-CN is built where it is missing.
 *
 * @throws UserError where a dataset is unknown, or its folder or split is not there
 */
export async function planSplits(
  { dataset, split }: Pick<EvalRetrievalConfig, 'dataset' | 'split'>,
  data: DataSetting,
  reporter: Reporter,
): Promise<SplitPlan[]> {
  if (dataset === undefined) {
    const name = partsOf(data)
      .map(({ path }) => path)
      .join(' + ');
    return [{ name, data, split: split ?? 'test' }];
  }
  if (typeof data !== 'string') throw new UserError('with --dataset, data is a folder');
  const names = namesOf(dataset, '--dataset');
  for (const name of names) retrievalBenchmark(name);
  const plans: SplitPlan[] = [];
  for (const name of names) {
    const benchmark = retrievalBenchmark(name);
    const wanted = split ?? benchmark.split;
    if (name === EMOJI && findSource(data, wanted) === undefined) {
      await ensureEmojiDataset(join(data, benchmark.folder), reporter);
    }
    plans.push({ name, data: benchmarkFolder(name, data, wanted), split: wanted });
  }
  return plans;
}
