import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type { RunBlock } from '../nn/blocks.js';
import type { Weights } from '../nn/layers.js';
import { isResNet, type ModelConfig, RESNET_REDUCTION } from './config.js';
import { encodeResNet, encodeResNetInTraining } from './resnet.js';
import { encodeViT } from './vit.js';

/**
 * The image tower in evaluation: pixels [batch, 3, resolution, resolution], preprocessed → features
 * [batch, embed_dim], not normalised.
 */
export function encodeImage(config: ModelConfig, weights: Weights, pixels: Tensor): Tensor2D {
  return isResNet(config) ? encodeResNet(config, weights, pixels) : encodeViT(config, weights, pixels);
}

/** How training runs the image tower. */
export interface ImageTraining {
  /** float32 scalar, the batch size */
  count: Tensor;
  /** see `encodeViT`; a ResNet takes none */
  keptTokens?: Tensor;
  runBlock?: RunBlock;
  /** whether a batch norm of a ResNet normalises with its running statistics and keeps them */
  isFrozenNorm: (name: string) => boolean;
}

/**
 * The image tower as it is trained.
 *
 * @returns features, and by name what the model's buffers become with this batch: a ViT has none
 */
export function encodeImageInTraining(
  config: ModelConfig,
  weights: Weights,
  pixels: Tensor,
  training: ImageTraining,
): { features: Tensor2D; buffers: Record<string, Tensor> } {
  return isResNet(config)
    ? encodeResNetInTraining(config, weights, pixels, training)
    : { features: encodeViT(config, weights, pixels, training), buffers: {} };
}

/** @throws RangeError where a batch norm would see one value a channel: it has no variance to train with. */
export function assertVariance(config: ModelConfig, n: number): void {
  if (isResNet(config) && n * (config.image_resolution / RESNET_REDUCTION) ** 2 < 2) {
    throw new RangeError(
      `a ResNet of image_resolution ${config.image_resolution} can't be trained on one picture at a time`,
    );
  }
}
