import type { Scalar, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Signature, TensorFunction } from '../engine/engine.js';
import { type DropoutSite, encodeText } from '../model/bert.js';
import { type ContrastiveOutput, contrastiveLoss } from '../model/clip.js';
import { encodeImageInTraining } from '../model/image.js';
import { idSpec, type Model, pixelSpec } from '../model/model.js';

/** Name of the output that holds a parameter's gradient. */
export const gradientName = (parameter: string) => `gradient ${parameter}`;

/** Name of the output that holds what a buffer becomes with the batch. */
export const updateName = (buffer: string) => `update ${buffer}`;

/**
 * The function of one training step: loss, nearest neighbours, the gradient of every trainable parameter and the update
 * of every buffer.
 * With a locked image tower it takes `imageFeatures` instead of `pixels`, and the tower is not part of it at all.
 */
export function trainingFunction(
  model: Model,
  trainable: readonly string[],
  lockedVision: boolean,
  dropoutSites: readonly DropoutSite[],
): { fn: TensorFunction; signature: Signature } {
  const { config } = model;
  const fn: TensorFunction = (inputs) => {
    let output: ContrastiveOutput | undefined;
    const updates: Record<string, Tensor> = {};
    const { value: loss, grads } = tf.valueAndGrads(() => {
      const { features: image, buffers } = lockedVision
        ? { features: inputs.imageFeatures as Tensor2D, buffers: {} }
        : encodeImageInTraining(config, inputs, inputs.pixels, inputs.count);
      for (const [name, value] of Object.entries(buffers)) updates[updateName(name)] = tf.keep(value);
      const text = encodeText(config, inputs, inputs.ids, inputs);
      output = contrastiveLoss(image, text, inputs.logit_scale, inputs.count);
      tf.keep(output.nearestText);
      tf.keep(output.nearestImage);
      return output.loss as Scalar;
    })(trainable.map((name) => inputs[name]));
    const gradients: Record<string, Tensor> = {};
    trainable.forEach((name, i) => {
      gradients[gradientName(name)] = grads[i];
    });
    const { nearestText, nearestImage } = output!;
    return { loss, nearestText, nearestImage, ...gradients, ...updates };
  };

  const names = [...model.weights.keys()].filter((name) => !lockedVision || trainable.includes(name));
  const dropout = dropoutSites.map(({ name, shape }) => [name, { shape, dtype: 'float32' as const }]);
  return {
    fn,
    signature: {
      inputs: {
        ...(lockedVision
          ? { imageFeatures: { shape: ['n', config.embed_dim], dtype: 'float32' } }
          : { pixels: pixelSpec(config) }),
        ids: idSpec,
        count: { shape: [], dtype: 'float32' },
        ...Object.fromEntries(dropout),
        ...model.weightSpecs(names),
      },
      limits: { length: config.text_max_position_embeddings },
    },
  };
}
