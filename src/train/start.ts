import { dirname } from 'node:path';
import { isDirectory } from '../checkpoint/files.js';
import { openCheckpoint } from '../checkpoint/open.js';
import type { TrainingState } from '../checkpoint/trainingState.js';
import type { DataSetting } from '../config/data.js';
import type { PretrainConfig } from '../config/pretrain.js';
import type { RunConfig, StageConfig } from '../config/training.js';
import { partsOf } from '../data/mixedDataset.js';
import { UserError } from '../errors.js';
import type { Reporter } from '../io/terminal.js';
import type { ModelConfig } from '../model/config.js';
import { initializationTable, initializeTower } from '../model/initialize.js';
import { loadModel, openParameters } from '../model/load.js';
import type { Model } from '../model/model.js';
import { isVisionParameter, parameterSpecs } from '../model/parameters.js';
import { trainableParameters } from './freezing.js';
import { completeOptions, requireUseOfTeacher } from './options.js';
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

/** @throws UserError for a reset of what there is not */
export function requireResume({ resume, resetOptimizer, resetDataOffset }: RunConfig): void {
  if (resume === undefined && (resetOptimizer || resetDataOffset)) {
    throw new UserError("resetOptimizer and resetDataOffset say what 'resume' leaves out: give that, too");
  }
}

/**
 * Whether a stage's settings suit each other and the model, and its teacher can be loaded; the teacher's tensors are not
 * read.
 *
 * @throws UserError as `createTrainer` and `loadModel`
 */
export function requireSuitable(settings: StageConfig, model: ModelConfig): void {
  const { teacher } = settings;
  const options = { ...settings, totalSteps: 1, teacher: undefined };
  const names = parameterSpecs(model).map(({ name }) => name);
  trainableParameters(names, model, completeOptions(options, model));
  if (teacher === undefined) return;
  requireUseOfTeacher(settings);
  openParameters(teacher, undefined, () => {});
}

/**
 * Another run's checkpoint to go on from: a .pt of the reference or a checkpoint directory of ours, with its optimizer
 * unless that is reset. Which of several stages it was written in shows in what its optimizer trained.
 *
 * @param running the stages that run
 * @throws UserError if it holds no optimizer, or its stage does not run
 */
export function openOrigin(
  location: string,
  running: readonly (1 | 2)[],
  { resetOptimizer, resetDataOffset }: Pick<RunConfig, 'resetOptimizer' | 'resetDataOffset'>,
): { path: string; position: Position } {
  const training = openCheckpoint(location).training();
  const optimizer = training?.optimizer;
  if (training === undefined || (optimizer === undefined && !resetOptimizer)) {
    throw new UserError(
      `${location} holds weights, but no ${training === undefined ? 'position' : 'optimizer'} to resume: ` +
        'start anew from its weights',
    );
  }
  const stage = running.length === 1 ? running[0] : stageOf(training);
  if (stage === undefined || !running.includes(stage)) {
    const written =
      stage === undefined ? 'does not say its stage' : `was written in stage ${stage}, which does not run`;
    throw new UserError(`${location} ${written}: say with --stage which stage goes on`);
  }
  const step = resetDataOffset ? 0 : training.step;
  return { path: location, position: { stage, step, totalSteps: Math.max(1, training.step) } };
}

/** Stage 1 of pretraining does not train the image tower. */
function stageOf({ optimizer }: TrainingState): 1 | 2 | undefined {
  if (optimizer === undefined) return undefined;
  return [...optimizer.moments.keys()].some(isVisionParameter) ? 2 : 1;
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

/** The config of a stage's teacher, if it has one. */
export function teacherConfig({ teacher }: StageConfig): ModelConfig | undefined {
  return teacher === undefined ? undefined : openCheckpoint(teacher).config();
}

/** The model whose image features a stage comes near to, if it has one. @throws UserError as `loadModel` */
export async function openTeacher(
  { engine, provider, providerOptions }: Pick<RunConfig, 'engine' | 'provider' | 'providerOptions'>,
  { teacher }: StageConfig,
  reporter: Reporter,
): Promise<Model | undefined> {
  if (teacher === undefined) return undefined;
  return loadModel(teacher, { engine, provider, providerOptions, warn: reporter.line });
}
