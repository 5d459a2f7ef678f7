import { basename, join, resolve } from 'node:path';
import { UserError } from '../errors.js';
import { isFolder } from '../io/fileSystem.js';
import { type DatasetSource, findSource, openDataset } from './dataset.js';
import { Problems } from './problems.js';
import { namesIn } from './readFolder.js';
import { datasetContent, openTsvContent, type SplitContent, tsvSplits } from './splitContent.js';
import { type SplitReport, type ValidateOptions, validateSplit } from './validate.js';

export interface ValidateDatasetOptions extends Omit<ValidateOptions, 'onProgress'> {
  /** all that are found by default */
  split?: string;
  source?: DatasetSource;
  /** told how many of a split's pictures are checked */
  onProgress?: (split: string, done: number, total: number) => void;
}

export interface DatasetReport {
  path: string;
  isClean: boolean;
  splits: ({ split: string; source: DatasetSource } & SplitReport)[];
}

/** Names to look for where a source does not list its splits. */
const USUAL_SPLITS = ['train', 'valid', 'val', 'dev', 'test'];

/**
 * Checks the splits of a dataset, each to its end. tsv + jsonl files are checked line by line; any other source has to
 * open first, and what it throws then is the only problem told of its ids and fields.
 *
 * @throws UserError where there is no split to check
 */
export async function validateDataset(path: string, options: ValidateDatasetOptions): Promise<DatasetReport> {
  const splits: DatasetReport['splits'] = [];
  for (const split of splitsToCheck(path, options)) {
    const source = options.source ?? findSource(path, split) ?? 'tsv';
    const problems = new Problems();
    const content =
      source === 'tsv'
        ? openTsvContent(path, split, problems)
        : await openContent(path, split, source, problems);
    try {
      const onProgress = (done: number, total: number) => options.onProgress?.(split, done, total);
      splits.push({ split, source, ...(await validateSplit(content, { ...options, onProgress }, problems)) });
    } finally {
      content.close();
    }
  }
  return { path, isClean: splits.every(({ isClean }) => isClean), splits };
}

function splitsToCheck(path: string, { split, source }: ValidateDatasetOptions): string[] {
  if (split !== undefined) return [split];
  const listed = (source ?? 'tsv') === 'tsv' && isFolder(path) ? tsvSplits(path) : [];
  if (listed.length > 0) return listed;
  const isThere = (name: string) => findSource(path, name) !== undefined;
  // The folder or file of one split fits whatever it is asked for.
  const own = basename(resolve(path));
  if (isThere(own)) return [own];
  const folders = [path, join(path, 'lmdb')].filter(isFolder).flatMap(namesIn);
  const found = [...new Set([...USUAL_SPLITS, ...folders])].filter(isThere);
  if (found.length > 0) return found;
  throw new UserError(
    `${path}: no split is found; expected SPLIT_imgs.tsv and SPLIT_texts.jsonl, or a dataset in another form whose ` +
      'split --split names',
  );
}

async function openContent(
  path: string,
  split: string,
  source: DatasetSource,
  problems: Problems,
): Promise<SplitContent> {
  try {
    return datasetContent(await openDataset(path, { split, source, warn: () => {} }));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    problems.add('files', error.message);
    return { close() {} };
  }
}
