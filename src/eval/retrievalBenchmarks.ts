import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { findSource } from '../data/dataset.js';
import { UserError } from '../errors.js';
import { isFolder } from '../io/fileSystem.js';
import { packageRoot } from '../io/packageRoot.js';
import type { Direction } from './files.js';

/** How the model that results are published for came to be: as released, or finetuned on the dataset. */
export const setups = ['zero-shot', 'finetune'] as const;
export type Setup = (typeof setups)[number];

const byModel = z.record(z.string(), z.array(z.number()).min(3).max(4));
const bySetup = z.strictObject({ textToImage: byModel.optional(), imageToText: byModel.optional() });

const benchmarkSchema = z.strictObject({
  /** where the reference's zip unpacks to */
  folder: z.string(),
  /** that results are published for */
  split: z.string(),
  published: z.partialRecord(z.enum(setups), bySetup).default({}),
});

export type RetrievalBenchmark = z.infer<typeof benchmarkSchema>;

/** What is known of each dataset by its name: configs/eval/retrieval.yaml. */
export const retrievalBenchmarks: ReadonlyMap<string, RetrievalBenchmark> = new Map(
  Object.entries(
    z
      .record(z.string(), benchmarkSchema)
      .parse(parse(readFileSync(join(packageRoot, 'configs', 'eval', 'retrieval.yaml'), 'utf8'))),
  ),
);

/** @throws UserError listing the names, where the dataset is unknown */
export function retrievalBenchmark(name: string): RetrievalBenchmark {
  const benchmark = retrievalBenchmarks.get(name);
  if (benchmark !== undefined) return benchmark;
  throw new UserError(
    `unknown dataset "${name}": expected ${[...retrievalBenchmarks.keys()].join(', ')}; ` +
      'for data of your own leave --dataset out',
  );
}

/** The published R@1, R@5, R@10, and the mean if it is published, in percent; undefined where there is no such result. */
export function publishedRecall(
  name: string,
  split: string,
  setup: Setup,
  direction: Direction,
  model: string,
): readonly number[] | undefined {
  const benchmark = retrievalBenchmarks.get(name);
  return benchmark?.split === split ? benchmark.published[setup]?.[direction]?.[model] : undefined;
}

/**
 * The folder of a dataset: the one of its name in `data`, in whatever case, or `data` itself.
 *
 * @throws UserError where `data` is no folder, or no such split lies there, naming the splits that do
 */
export function benchmarkFolder(name: string, data: string, split: string): string {
  const folder = findFolder(retrievalBenchmark(name), data);
  if (findSource(folder, split) !== undefined) return folder;
  const splits = splitsOf(folder);
  const found = splits.length === 0 ? 'no SPLIT_imgs.tsv and no lmdb/SPLIT there' : splits.join(', ');
  throw new UserError(`${folder} has no split "${split}" of ${name}; found ${found}`);
}

function findFolder({ folder }: RetrievalBenchmark, data: string): string {
  if (!isFolder(data)) {
    throw new UserError(`${data}: no such folder; expected ${folder}, unpacked there`);
  }
  const found = readdirSync(data).find((entry) => entry.toLowerCase() === folder.toLowerCase());
  return found === undefined ? data : join(data, found);
}

function splitsOf(folder: string): string[] {
  const tsv = readdirSync(folder).flatMap((file) => /^(.+)_imgs\.tsv$/.exec(file)?.[1] ?? []);
  const lmdb = existsSync(join(folder, 'lmdb')) ? readdirSync(join(folder, 'lmdb')) : [];
  return [...new Set([...tsv, ...lmdb])].sort();
}
