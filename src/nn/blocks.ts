import type { Tensor } from '@tensorflow/tfjs-core';
import type { Weights } from './layers.js';

/** One block of a tower: what it makes of x, with constants (a mask) that no gradient flows into. */
export type Block<T extends Tensor> = (weights: Weights, x: T, ...constants: Tensor[]) => T;

/**
 * Applies a block whose weights' names begin with `prefix`. Training may do it in another way than to call it, to spare
 * the memory of what the block holds for its gradient.
 */
export type RunBlock = <T extends Tensor>(
  block: Block<T>,
  prefix: string,
  weights: Weights,
  x: T,
  ...constants: Tensor[]
) => T;

export const callBlock: RunBlock = (block, _prefix, weights, x, ...constants) =>
  block(weights, x, ...constants);
