import { join } from 'node:path';
import { z } from 'zod';
import { explainIssues } from '../../config/explain.js';
import { UserError } from '../../errors.js';
import { isFile } from '../../io/fileSystem.js';
import { readConfigFile } from '../../model/config.js';
import { benchmarks, evalConfigs } from './benchmarks.js';

/** Stands for the class's name in a prompt. */
const PLACE = '{}';
/** Prompts of datasets that are not named. */
const DEFAULT = 'default';
const GENERAL = 'general';

const list = z
  .array(
    z.string().refine((prompt) => prompt.includes(PLACE), `a prompt needs ${PLACE} for the class's name`),
  )
  .min(1, 'expected at least one prompt');
const promptFile = z.union([list, z.record(z.string(), list)]);

/** The prompts of each dataset. */
export type Prompts = (dataset: string) => readonly string[];

/**
 * The prompts of configs/eval/prompts.yaml, by configs/eval/elevater.yaml; general ones for other datasets.
 *
 * @param file JSON or YAML that replaces them: a list of prompts for every dataset, or lists by dataset, of which
 * `default` serves those that are not named. {} stands for the class's name.
 * @throws UserError where the file is missing or something else; the returned function, for a dataset it leaves out
 */
export function loadPrompts(file?: string): Prompts {
  if (file === undefined) {
    const sets = readPrompts(join(evalConfigs, 'prompts.yaml')) as Record<string, string[]>;
    return (dataset) => sets[benchmarks.get(dataset)?.prompts ?? GENERAL];
  }
  const content = readPrompts(file);
  if (Array.isArray(content)) return () => content;
  return (dataset) => {
    const found = Object.hasOwn(content, dataset) ? content[dataset] : content[DEFAULT];
    if (found !== undefined) return found;
    throw new UserError(`${file} has no prompts for ${dataset}: add them, or '${DEFAULT}' for all others`);
  };
}

function readPrompts(file: string): string[] | Record<string, string[]> {
  if (!isFile(file)) {
    throw new UserError(`${file}: no such file; expected prompts as JSON or YAML`);
  }
  const content = readConfigFile(file);
  const result = promptFile.safeParse(content);
  if (result.success) return result.data;
  // Of the two forms, complain about the one that was meant.
  const meant = Array.isArray(content) ? list : z.record(z.string(), list);
  const { error } = meant.safeParse(content);
  throw new UserError(
    `${file}: expected a list of prompts, or lists by dataset: ${error === undefined ? '' : explainIssues(error)}`,
  );
}

/** The texts of a class: each prompt with its name. */
export function fillPrompts(prompts: readonly string[], className: string): string[] {
  return prompts.map((prompt) => prompt.replaceAll(PLACE, () => className));
}
