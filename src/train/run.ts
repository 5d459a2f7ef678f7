import { resolve } from 'node:path';
import type { DataSetting } from '../config/data.js';
import { operationalSettings, type RunConfig } from '../config/training.js';
import { openData, partsOf } from '../data/mixedDataset.js';
import { createEngine } from '../engine/select.js';
import type { Reporter } from '../io/terminal.js';
import { type ModelConfig, requireFit } from '../model/config.js';
import { allocateModel, createModel, readWeightsInto } from '../model/load.js';
import type { Model } from '../model/model.js';
import { writeTrainReport } from '../report/trainReport.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { dryRun } from './dryRun.js';
import { warnAhead } from './guards.js';
import { runStage } from './loop.js';
import { outcomeLines } from './outcome.js';
import { RunDirectory } from './runDirectory.js';
import { RunLog } from './runLog.js';
import type { Stage, TrainingRun } from './stage.js';
import { openOrigin, requireResume, requireSuitable } from './start.js';
import { Validation } from './validation.js';

export interface RunOptions {
  reporter: Reporter;
  /** asked after every step: the run then saves a checkpoint and ends */
  shouldStop: () => boolean;
  /** tell what would be done, and overfit one batch; nothing is written */
  dryRun?: boolean;
}

/** What a run trains. */
export interface RunPlan {
  config: RunConfig;
  /** all settings, complete; their paths by the names that end in one of `paths` */
  settings: Record<string, unknown>;
  modelConfig: ModelConfig;
  tokenizer: Tokenizer;
  /** in order */
  stages: readonly Stage[];
  /** checkpoint or official model to start from; by default random weights */
  weights: string | undefined;
  /** puts other weights into a new model of random ones */
  initialize?: (model: Model) => void;
}

/**
 * Trains stage after stage. A run that was interrupted is taken up at its newest checkpoint and ends with the weights it
 * would have had.
 *
 * @returns the folder of the finished model, or undefined if `shouldStop` ended the run early, or it was a dry one
 * @throws UserError for settings, data or weights that do not fit
 */
export async function runTraining(plan: RunPlan, options: RunOptions): Promise<string | undefined> {
  const { config, modelConfig, tokenizer, stages } = plan;
  const { reporter } = options;
  requireResume(config);
  requireFit(tokenizer, modelConfig, config.contextLength);
  for (const { settings } of stages) requireSuitable(settings, modelConfig);
  const opened: { close(): void }[] = [];
  try {
    const dataset = await openData(config.data, { split: config.split, warn: reporter.line });
    opened.push(dataset);
    reporter.line(`${dataset.location}: ${dataset.pairCount} pairs, ${dataset.imageCount} images`);
    const origin =
      config.resume === undefined
        ? undefined
        : openOrigin(
            config.resume,
            stages.map(({ number }) => number),
            config,
          );
    const directory = new RunDirectory(config.output, origin);
    if (!options.dryRun) directory.check(outcomeSettings(plan.settings));
    const validations = await Validation.open(config, tokenizer, reporter);
    opened.push(...validations);
    const isTrainedAlready = plan.weights !== undefined || origin !== undefined;
    for (const stage of stages) warnAhead(stage, modelConfig, config, isTrainedAlready, reporter.line);
    const start = (options.dryRun ? origin : directory.latest())?.path ?? plan.weights;
    return await runStages(plan, options, { dataset, validations, directory, start });
  } finally {
    for (const each of opened) each.close();
  }
}

/** The stages of a run whose data are open, from the weights of a checkpoint or from new ones. */
async function runStages(
  plan: RunPlan,
  { reporter, shouldStop, dryRun: isDry }: RunOptions,
  opened: Pick<TrainingRun, 'dataset' | 'validations' | 'directory'> & { start: string | undefined },
): Promise<string | undefined> {
  const { config, modelConfig, tokenizer, stages } = plan;
  const { start, directory, ...data } = opened;
  const engine = await createEngine(config.engine, config.provider, reporter.line, config.providerOptions);
  const model =
    start === undefined ? createModel(modelConfig, engine, config.seed) : allocateModel(modelConfig, engine);
  try {
    if (start !== undefined) readWeightsInto(model, start, reporter.line);
    else plan.initialize?.(model);
    const log = new RunLog(directory, config.logEverySteps, reporter);
    const run = { ...data, config, model, tokenizer, directory, log, reporter, shouldStop };
    reporter.line(`${engine.description}, ${model.parameterCount.toLocaleString('en')} parameters`);
    if (isDry) {
      await dryRun(run, stages, plan.settings);
      return undefined;
    }
    // Only now: what was wrong so far has left no folder behind.
    directory.open(outcomeSettings(plan.settings));
    for (const stage of stages) {
      const isDone = await runStage(stage, run);
      writeTrainReport(directory.path);
      if (!isDone) return undefined;
    }
    for (const line of outcomeLines(directory, config.bestMetric)) log.note(line);
    return directory.model;
  } finally {
    await model.dispose();
  }
}

/** Settings that are paths: a folder is the same one however it is written. */
const pathSettings = ['data', 'validData', 'otherData', 'vocabulary', 'weights', 'resume', 'vision', 'text'];

/** The settings that the outcome depends on. */
function outcomeSettings(settings: Record<string, unknown>): Record<string, unknown> {
  const kept = Object.entries(settings).filter(
    ([name, value]) => value !== undefined && !operationalSettings.includes(name),
  );
  return Object.fromEntries(
    kept.map(([name, value]) => {
      if (name === 'init') return [name, outcomeSettings(value as Record<string, unknown>)];
      return [name, pathSettings.includes(name) ? withAbsolutePaths(value as DataSetting) : value];
    }),
  );
}

function withAbsolutePaths(data: DataSetting): unknown {
  if (typeof data === 'string') return resolve(data);
  return partsOf(data).map((part) => ({ ...part, path: resolve(part.path) }));
}
