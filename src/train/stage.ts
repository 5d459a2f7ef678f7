import { basename } from 'node:path';
import type { CheckpointContent } from '../checkpoint/directory.js';
import type { RunConfig, StageConfig } from '../config/training.js';
import type { Dataset } from '../data/dataset.js';
import { BatchLoader, type LoaderOptions } from '../data/loader.js';
import { UserError } from '../errors.js';
import type { Reporter } from '../io/terminal.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Position, RunDirectory } from './runDirectory.js';
import type { RunLog } from './runLog.js';
import type { Validation } from './validation.js';

/** A stage of training: pretraining has two of them, finetuning one. */
export interface Stage {
  number: 1 | 2;
  /** as messages call it */
  name: string;
  /** its settings in the configuration, for messages: 'stage1.' */
  prefix: string;
  settings: StageConfig;
}

/** A run with all that its stages need. */
export interface TrainingRun {
  config: RunConfig;
  dataset: Dataset;
  /** what it is measured on */
  validations: readonly Validation[];
  model: Model;
  tokenizer: Tokenizer;
  directory: RunDirectory;
  log: RunLog;
  reporter: Reporter;
  /** asked after every step: the run then saves a checkpoint and ends */
  shouldStop: () => boolean;
}

/** Seed of a stage's order, dropout, masks and adapters. */
export function seedOf({ config }: Pick<TrainingRun, 'config'>, { number }: Stage): number {
  return config.seed * 2 + number;
}

/** The training batches of a stage. */
export function trainingLoader(
  run: Omit<TrainingRun, 'directory' | 'log' | 'shouldStop' | 'validations'>,
  stage: Stage,
  options: Pick<LoaderOptions, 'pixels' | 'report'> & Partial<LoaderOptions>,
): BatchLoader {
  const { config, dataset, tokenizer, model } = run;
  return new BatchLoader({
    dataset,
    tokenizer,
    resolution: model.config.image_resolution,
    contextLength: config.contextLength,
    batchSize: stage.settings.batchSize,
    seed: seedOf(run, stage),
    shuffle: true,
    workers: config.workers,
    readAhead: config.readAhead,
    uniqueCaptions: config.uniqueCaptions,
    maxBrokenRate: config.maxBrokenRate,
    augment: stage.settings.augment,
    ...options,
  });
}

/** Steps of a stage. @throws UserError where neither epochs nor maxSteps says it */
export function stepCount({ settings }: Stage, stepsPerEpoch: number): number {
  const { epochs, maxSteps } = settings;
  if (epochs === undefined && maxSteps === undefined) {
    throw new UserError("how long to train is not said: give 'epochs' or 'maxSteps'");
  }
  return Math.min((epochs ?? Infinity) * stepsPerEpoch, maxSteps ?? Infinity);
}

/** A checkpoint at a position, without the optimizer. */
export function checkpointContent(
  { model, tokenizer, directory }: TrainingRun,
  position: Position,
  epoch: number,
): CheckpointContent {
  return {
    weights: model.tensors,
    config: model.config,
    vocabulary: tokenizer.vocabulary,
    training: { epoch, step: position.step, name: basename(directory.path) },
    run: position,
  };
}
