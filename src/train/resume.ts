import { openCheckpoint } from '../checkpoint/open.js';
import type { TrainingState } from '../checkpoint/trainingState.js';
import { UserError } from '../errors.js';
import { isVisionParameter } from '../model/parameters.js';
import type { Position } from './runDirectory.js';

/**
 * Another run's checkpoint to go on from: a .pt of the reference or a checkpoint directory of ours, with its optimizer.
 * Which stage it was written in shows in what its optimizer trained.
 *
 * @throws UserError if it holds no optimizer
 */
export function openForeignRun(location: string): { path: string; position: Position } {
  const training = openCheckpoint(location).training();
  const optimizer = training?.optimizer;
  if (training === undefined || optimizer === undefined) {
    throw new UserError(
      `${location} holds weights, but no optimizer to resume: give it as 'weights' to start anew from them`,
    );
  }
  const stage = [...optimizer.moments.keys()].some(isVisionParameter) ? 2 : 1;
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
