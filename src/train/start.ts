import { dirname } from 'node:path';
import { isDirectory } from '../checkpoint/files.js';
import { openCheckpoint } from '../checkpoint/open.js';
import type { TrainingState } from '../checkpoint/trainingState.js';
import type { DataSetting } from '../config/data.js';
import type { PretrainConfig } from '../config/pretrain.js';
import { partsOf } from '../data/mixedDataset.js';
import { UserError } from '../errors.js';
import type { Reporter } from '../io/terminal.js';
import { initializationTable, initializeTower } from '../model/initialize.js';
import type { Model } from '../model/model.js';
import { isVisionParameter } from '../model/parameters.js';
import type { Position } from './runDirectory.js';

/** The folder of the first dataset, where a vocabulary is looked for. */
export function dataFolder(data: DataSetting): string {
  const [{ path }] = partsOf(data);
  return isDirectory(path) ? path : dirname(path);
}

/** What a run starts from is said once. @throws UserError for two of weights, init and resume */
export function requireOneStart({ weights, resume, init }: PretrainConfig): void {
  const given = Object.entries({ weights, resume, init: init.vision ?? init.text })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => `'${name}'`);
  if (given.length > 1) {
    throw new UserError(`${given.join(' and ')} each say what to start from: give one of them`);
  }
}

/**
 * Another run's checkpoint to go on from: a .pt of the reference or a checkpoint directory of ours, with its optimizer.
 * Which stage it was written in shows in what its optimizer trained.
 *
 * @param running the stages that run
 * @throws UserError if it holds no optimizer, or its stage does not run
 */
export function openOrigin(
  location: string,
  running: readonly (1 | 2)[],
): { path: string; position: Position } {
  const training = openCheckpoint(location).training();
  const optimizer = training?.optimizer;
  if (training === undefined || optimizer === undefined) {
    throw new UserError(
      `${location} holds weights, but no optimizer to resume: give it as 'weights' to start anew from them`,
    );
  }
  const stage = [...optimizer.moments.keys()].some(isVisionParameter) ? 2 : 1;
  if (!running.includes(stage)) {
    throw new UserError(
      `${location} was written in stage ${stage}, which does not run: run it with --stage ${stage} and ` +
        `stage${stage}.epochs above 0, or give it as 'weights'`,
    );
  }
  return { path: location, position: { stage, step: training.step, totalSteps: training.step } };
}

/** How AdamW's settings differ from those that a checkpoint was written with, for a line of the log. */
export function changedFactors(
  training: TrainingState | undefined,
  settings: { weightDecay: number; beta1: number; beta2: number; epsilon: number },
): string[] {
  const before = training?.optimizer;
  if (before === undefined) return [];
  return (['weightDecay', 'beta1', 'beta2', 'epsilon'] as const)
    .filter((name) => before[name] !== settings[name])
    .map((name) => `${name} ${settings[name]} in place of ${before[name]}`);
}

/** Puts weights that were trained elsewhere into the towers of a new model, and says what became of them. */
export function initializeTowers(model: Model, { init }: PretrainConfig, reporter: Reporter): void {
  for (const tower of ['vision', 'text'] as const) {
    const file = init[tower];
    if (file === undefined) continue;
    for (const line of initializationTable(initializeTower(model, tower, file))) reporter.line(line);
  }
}
