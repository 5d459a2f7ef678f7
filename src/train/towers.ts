import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { TensorSpec } from '../engine/engine.js';
import { type DropoutSite, encodeText } from '../model/bert.js';
import { type ContrastiveOutput, contrastiveLoss } from '../model/clip.js';
import { encodeImageInTraining } from '../model/image.js';
import { idSpec, type Model, pixelSpec } from '../model/model.js';
import { isTextParameter, isVisionParameter } from '../model/parameters.js';
import { callBlock } from '../nn/blocks.js';
import { checkpointedBlocks } from './checkpointing.js';
import { distillationLoss } from './distillation.js';

/** What the programs of a training step compute. */
export interface TrainingPlan {
  model: Model;
  /** names of the parameters that get a gradient */
  trainable: readonly string[];
  /** no parameter of the tower is trained: programs take its features in place of pixels or ids */
  locked: { vision: boolean; text: boolean };
  dropoutSites: readonly DropoutSite[];
  /** patches that the image tower sees of a picture, all if undefined */
  keptPatches?: number;
  freezeBatchNorm: boolean;
  checkpointing: boolean;
  distillation?: { weight: number; teacherWidth: number };
}

export const featureSpec = (width: number): TensorSpec => ({ shape: ['n', width], dtype: 'float32' });
export const scalarSpec: TensorSpec = { shape: [], dtype: 'float32' };

/** The features of both towers in training, and by name what the buffers become with this batch. */
export function encodePair(
  plan: TrainingPlan,
  inputs: Record<string, Tensor>,
): { image: Tensor2D; text: Tensor2D; buffers: Record<string, Tensor> } {
  const { config } = plan.model;
  const trainable = new Set(plan.trainable);
  const runBlock = plan.checkpointing ? checkpointedBlocks(trainable) : callBlock;
  const { features: image, buffers } = plan.locked.vision
    ? { features: inputs.imageFeatures as Tensor2D, buffers: {} }
    : encodeImageInTraining(config, inputs, inputs.pixels, {
        count: inputs.count,
        keptTokens: inputs.keptTokens,
        runBlock,
        isFrozenNorm: (name) => plan.freezeBatchNorm || !trainable.has(`${name}.weight`),
      });
  const text = plan.locked.text
    ? (inputs.textFeatures as Tensor2D)
    : encodeText(config, inputs, inputs.ids, { dropout: inputs, runBlock });
  return { image, text, buffers };
}

/** What `encodePair` takes: pixels and ids or the features of a locked tower, what is drawn at random, weights. */
export function pairInputs(plan: TrainingPlan): Record<string, TensorSpec> {
  const { model, locked, dropoutSites, keptPatches } = plan;
  const { embed_dim: width } = model.config;
  const sites = dropoutSites.map(({ name, shape }) => [name, { shape, dtype: 'float32' as const }]);
  const isUsed = (name: string) =>
    !(locked.vision && isVisionParameter(name)) && !(locked.text && isTextParameter(name));
  return {
    ...(locked.vision ? { imageFeatures: featureSpec(width) } : { pixels: pixelSpec(model.config) }),
    ...(locked.text ? { textFeatures: featureSpec(width) } : { ids: idSpec }),
    ...(keptPatches !== undefined && { keptTokens: { shape: ['n', keptPatches], dtype: 'int32' } }),
    count: scalarSpec,
    ...Object.fromEntries(sites),
    ...model.weightSpecs(isUsed),
  };
}

/** The contrastive loss of features, with the distillation loss if there is a teacher. */
export function pairLoss(
  plan: TrainingPlan,
  inputs: Record<string, Tensor>,
  image: Tensor2D,
  text: Tensor2D,
): ContrastiveOutput {
  const output = contrastiveLoss(image, text, inputs.logit_scale, inputs.count);
  if (plan.distillation === undefined) return output;
  const distance = distillationLoss(inputs.teacherFeatures as Tensor2D, image, inputs.count);
  return { ...output, loss: tf.add(output.loss, tf.mul(distance, plan.distillation.weight)) };
}

/** What `pairLoss` takes besides features and the count. */
export function lossInputs({ distillation }: TrainingPlan): Record<string, TensorSpec> {
  return {
    logit_scale: scalarSpec,
    ...(distillation && { teacherFeatures: featureSpec(distillation.teacherWidth) }),
  };
}
