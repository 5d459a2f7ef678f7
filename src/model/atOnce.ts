import { isResNet, type ModelConfig, patchCount } from './config.js';

/**
 * How many pictures are best encoded at once, where so many rows of a matrix are multiplied fastest. A ResNet takes all
 * of them: its convolutions were seen to be no faster on fewer.
 */
export function picturesAtOnce(config: ModelConfig, rowsAtOnce: number): number {
  if (isResNet(config)) return Number.POSITIVE_INFINITY;
  return Math.max(1, Math.floor(rowsAtOnce / (patchCount(config) + 1)));
}

/** How many texts of a length in tokens are best encoded at once. */
export function textsAtOnce(length: number, rowsAtOnce: number): number {
  return Math.max(1, Math.floor(rowsAtOnce / length));
}
