import type { AdamWFactors } from '../engine/engine.js';
import { isResNet, type ModelConfig } from '../model/config.js';

export interface AdamWOptions {
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
}

/** The reference's defaults, which differ between the kinds of image tower. */
export function defaultAdamW(config: ModelConfig): AdamWOptions {
  const shared = { weightDecay: 0.2, beta1: 0.9 };
  return isResNet(config)
    ? { ...shared, beta2: 0.999, epsilon: 1e-8 }
    : { ...shared, beta2: 0.98, epsilon: 1e-6 };
}

/** The reference's parameter groups: norms, biases and the temperature are not decayed; all else is. */
export function isDecayed(name: string): boolean {
  return !['bn', 'ln', 'bias', 'logit_scale'].some((part) => name.includes(part));
}

/**
 * The numbers of one AdamW update with decoupled weight decay (Loshchilov & Hutter, 2019), as torch.optim.AdamW
 * computes it: the weight decays first, and epsilon is added after the bias correction.
 *
 * @param step the optimizer's steps, counted from 1
 */
export function adamwFactors(
  { weightDecay, beta1, beta2, epsilon }: AdamWOptions,
  name: string,
  learningRate: number,
  step: number,
): AdamWFactors {
  return {
    beta1,
    beta2,
    epsilon,
    decay: isDecayed(name) ? 1 - learningRate * weightDecay : 1,
    stepSize: learningRate / (1 - beta1 ** step),
    inverseCorrection: 1 / Math.sqrt(1 - beta2 ** step),
  };
}
