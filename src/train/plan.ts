import type { DeviceTensor } from '../engine/engine.js';
import { UserError } from '../errors.js';
import { textDropoutSites } from '../model/bert.js';
import { createAdapters, isLoraTarget } from '../model/lora.js';
import type { Model } from '../model/model.js';
import { isBuffer, isTextParameter, isVisionParameter } from '../model/parameters.js';
import { adapterNames } from '../nn/layers.js';
import { isHead, trainableParameters } from './freezing.js';
import { keptPatchCount } from './masking.js';
import type { TrainerOptions } from './options.js';
import type { TrainingPlan } from './towers.js';

/**
 * What is trained, by name, on the engine: the weights that are not frozen; with LoRA, new adapters of those among them
 * that are targets, and the heads if they are to be.
 *
 * @throws UserError if that is nothing
 */
export async function trainedParameters(
  model: Model,
  options: TrainerOptions,
): Promise<Map<string, DeviceTensor>> {
  const { weights, config } = model;
  const { lora } = options;
  const names = trainableParameters(weights.keys(), config, options);
  await model.hold(names, 'float32');
  // The heads' few values are not worth it, and of buffers every bit counts.
  const frozen = [...weights.keys()].filter(
    (name) => !names.includes(name) && !isHead(name) && !isBuffer(name),
  );
  await model.hold(frozen, options.frozenPrecision);
  if (lora.rank === 0) {
    await model.mergeAdapters();
    return new Map(names.map((name) => [name, weights.get(name)!]));
  }
  const targets = names.filter((name) => isLoraTarget(name, lora.targets));
  if (targets.length === 0) {
    throw new UserError('LoRA has no weights to adapt: freeze less, or choose other lora.targets');
  }
  await model.adapt(createAdapters(weights, targets, lora, model.engine, options.seed));
  const adapters = targets.flatMap((name) => [adapterNames.a(name), adapterNames.b(name)]);
  return new Map([
    ...names.filter((name) => lora.heads && isHead(name)).map((name) => [name, weights.get(name)!] as const),
    ...adapters.map((name) => [name, model.adapters.get(name)!] as const),
  ]);
}

/** What the programs of these options compute. */
export function trainingPlan(
  model: Model,
  options: TrainerOptions,
  trainable: readonly string[],
): TrainingPlan {
  const { config } = model;
  const { maskRatio, teacher, distillationWeight } = options;
  const locked = { vision: !trainable.some(isVisionParameter), text: !trainable.some(isTextParameter) };
  return {
    model,
    trainable,
    locked,
    dropoutSites: locked.text ? [] : textDropoutSites(config, 'n', 'length', options.dropout),
    keptPatches: locked.vision || maskRatio === 0 ? undefined : keptPatchCount(config, maskRatio),
    freezeBatchNorm: options.freezeBatchNorm,
    checkpointing: options.checkpointing,
    distillation: teacher && { weight: distillationWeight, teacherWidth: teacher.config.embed_dim },
  };
}
