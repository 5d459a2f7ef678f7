import { UserError } from '../errors.js';
import { isResNet, type ModelConfig } from '../model/config.js';
import type { LoraOptions } from '../model/lora.js';
import type { Model } from '../model/model.js';
import { type AdamWOptions, defaultAdamW } from './adamw.js';
import type { Freezing } from './freezing.js';
import { keptPatchCount } from './masking.js';
import type { Schedule } from './schedule.js';

export interface TrainerOptions extends Schedule, AdamWOptions, Freezing {
  /**
   * what frozen parameters of the towers are held in: float16 rounds them and takes half the memory, on the onnx engine
   */
  frozenPrecision: 'float32' | 'float16';
  /** text dropout: false for none, true for the rates of the model config, or one rate for all sites */
  dropout: boolean | number;
  /** share of a picture's patches that the image tower does not see in training (FLIP); 0 for none */
  maskRatio: number;
  /** parts that a batch is cut into, one after the other in memory; the gradient is that of the whole */
  accumulate: number;
  /** hold no activations but the inputs of blocks: less memory, one more forward pass */
  checkpointing: boolean;
  /** largest global norm of the gradient; 0 for any */
  clipNorm: number;
  /** a model whose image features the trained one is to come near */
  teacher?: Model;
  /** of the distance from the teacher's features, in the loss */
  distillationWeight: number;
  /** low-rank adapters in place of the weights themselves; rank 0 for none */
  lora: LoraOptions;
  /** of dropout, masks and new adapters */
  seed: number;
}

/** Nothing switched on beyond what the reference does by default. */
const defaults = {
  freezeVision: false,
  freezeText: false,
  freezeVisionBlocks: 0,
  freezeTextBlocks: 0,
  headsOnly: false,
  freezeBatchNorm: false,
  frozenPrecision: 'float32',
  dropout: true,
  maskRatio: 0,
  accumulate: 1,
  checkpointing: false,
  clipNorm: 0,
  distillationWeight: 0.5,
  lora: { rank: 0, alpha: 16, targets: 'all', heads: false },
  seed: 0,
} as const satisfies Partial<TrainerOptions>;

/**
 * Options with the defaults for what is not given.
 *
 * @throws RangeError for a hyper-parameter that is no number, or a dropout rate of 1 or more
 * @throws UserError for options that exclude each other or don't suit the model
 */
export function completeOptions(
  given: Schedule & Partial<TrainerOptions>,
  config: ModelConfig,
): TrainerOptions {
  const options: TrainerOptions = { ...defaults, ...defaultAdamW(config), ...given };
  const numbers = ['learningRate', 'warmupSteps', 'totalSteps', 'weightDecay', 'beta1', 'beta2', 'epsilon'];
  for (const name of [...numbers, 'clipNorm', 'distillationWeight'] as (keyof TrainerOptions)[]) {
    if (!Number.isFinite(options[name]))
      throw new RangeError(`${name} is ${options[name]}, expected a number`);
  }
  const { dropout, accumulate, lora } = options;
  if (typeof dropout === 'number' && !(dropout >= 0 && dropout < 1)) {
    throw new RangeError(`dropout is ${dropout}, expected a rate from 0 to below 1`);
  }
  requireCount('accumulate', accumulate, 1);
  requireCount('lora.rank', lora.rank, 0);
  checkMasking(options, config);
  if (options.teacher !== undefined) requireUseOfTeacher(options);
  return options;
}

function requireCount(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new UserError(`${name} is ${value}, expected a whole number from ${least}`);
}

function checkMasking({ maskRatio, freezeVision }: TrainerOptions, config: ModelConfig): void {
  if (maskRatio === 0) return;
  if (isResNet(config)) throw new UserError('maskRatio needs a ViT: a ResNet sees whole pictures');
  if (freezeVision) throw new UserError('maskRatio has no use with freezeVision: set one of them');
  if (!(maskRatio > 0 && maskRatio < 1) || keptPatchCount(config, maskRatio) < 1) {
    throw new UserError(`maskRatio is ${maskRatio}, expected a share below 1 that leaves a patch to see`);
  }
}

/** @throws UserError where a teacher would change nothing */
export function requireUseOfTeacher({ freezeVision }: Pick<Freezing, 'freezeVision'>): void {
  if (freezeVision)
    throw new UserError('a teacher has no use with freezeVision: image features stay as they are');
}
