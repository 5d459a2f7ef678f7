import type { Scalar, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Signature, TensorFunction } from '../engine/engine.js';
import { type DropoutSite, encodeText } from '../model/bert.js';
import { type ContrastiveOutput, contrastiveLoss } from '../model/clip.js';
import { idSpec, type Model, pixelSpec } from '../model/model.js';
import { encodeImage } from '../model/vit.js';

/** Name of the output that holds a parameter's gradient. */
export const gradientName = (parameter: string) => `gradient ${parameter}`;

/**
 * The function of one training step: loss, nearest neighbours and the gradient of every trainable parameter.
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
    const { value: loss, grads } = tf.valueAndGrads(() => {
      const image = lockedVision
        ? (inputs.imageFeatures as Tensor2D)
        : encodeImage(config, inputs, inputs.pixels);
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
    return { loss, nearestText: output!.nearestText, nearestImage: output!.nearestImage, ...gradients };
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
