import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { TensorFunction, TensorSpec } from '../engine/engine.js';
import type { Graph } from '../engine/onnx/graph.js';
import { record } from '../engine/onnx/recorder.js';
import { encodeText } from '../model/bert.js';
import type { ModelConfig } from '../model/config.js';
import { encodeImage } from '../model/image.js';
import { idSpec, pixelSpec } from '../model/model.js';
import { isTextParameter, isVisionParameter, parameterSpecs } from '../model/parameters.js';
import { scaledMatMul } from '../nn/fused.js';
import { l2Normalize } from '../nn/layers.js';
import { exportedShape, withUnitQuickGelu } from './mlp.js';

/** The image tower under the reference's names: image [n, 3, side, side] → unnorm_image_features [n, embed_dim]. */
export function recordImageTower(config: ModelConfig, opset: number): Graph {
  return recordModel(
    config,
    opset,
    isVisionParameter,
    { image: pixelSpec(config) },
    ({ image, ...weights }) => ({ unnorm_image_features: encodeImage(config, weights, image) }),
  );
}

/** The text tower under the reference's names: text [n, length] → unnorm_text_features [n, embed_dim]. */
export function recordTextTower(config: ModelConfig, opset: number): Graph {
  return recordModel(config, opset, isTextParameter, { text: idSpec }, ({ text, ...weights }) => ({
    unnorm_text_features: encodeText(config, weights, text),
  }));
}

/**
 * Both towers and their similarity, as transformers' ChineseCLIPModel returns them: embeddings of length 1, and
 * logits = exp(logit_scale) · text · imageᵀ.
 */
export function recordJointModel(config: ModelConfig, opset: number): Graph {
  const inputs: Record<string, TensorSpec> = {
    input_ids: { shape: ['texts', 'length'], dtype: 'int32' },
    pixel_values: { shape: ['images', ...pixelSpec(config).shape.slice(1)], dtype: 'float32' },
    attention_mask: { shape: ['texts', 'length'], dtype: 'int32' },
  };
  return recordModel(
    config,
    opset,
    () => true,
    inputs,
    (given) => {
      const { input_ids: ids, pixel_values: pixels, attention_mask: mask, ...weights } = given;
      const attended = tf.cast(mask, 'float32');
      const text = l2Normalize(encodeText(config, weights, ids, { attended }));
      const image = l2Normalize(encodeImage(config, weights, pixels));
      const scaled = tf.mul<Tensor2D>(text, tf.exp(weights.logit_scale));
      const logits: Tensor = scaledMatMul(scaled, image, 1, false, true);
      return {
        logits_per_image: tf.transpose(logits),
        logits_per_text: logits,
        text_embeds: text,
        image_embeds: image,
      };
    },
  );
}

/** Records a function of some inputs and of the weights that it needs, as `exportedWeights` gives them, with standard operators. */
function recordModel(
  config: ModelConfig,
  opset: number,
  isNeeded: (name: string) => boolean,
  inputs: Readonly<Record<string, TensorSpec>>,
  compute: TensorFunction,
): Graph {
  const weights = parameterSpecs(config)
    .filter(({ name }) => isNeeded(name))
    .map(
      ({ name, shape }) => [name, { shape: exportedShape(name, shape), dtype: 'float32' } as const] as const,
    );
  const signature = {
    inputs: { ...inputs, ...Object.fromEntries(weights) },
    limits: { length: config.text_max_position_embeddings },
  };
  return withUnitQuickGelu(record(compute, signature, { opset, microsoft: false }));
}
