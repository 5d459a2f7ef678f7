import * as tf from '@tensorflow/tfjs-core';
import type { DeviceTensor, ElementwiseProgram, Engine } from '../engine/engine.js';

export interface AdamWOptions {
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
}

/** What AdamW remembers of one parameter: running means of the gradient and of its square. */
export interface Moments {
  first: DeviceTensor;
  second: DeviceTensor;
}

/** The reference's parameter groups: norms, biases and the temperature are not decayed; all else is. */
export function isDecayed(name: string): boolean {
  return !['bn', 'ln', 'bias', 'logit_scale'].some((part) => name.includes(part));
}

/** AdamW with decoupled weight decay (Loshchilov & Hutter, 2019), in the order of operations of torch.optim.AdamW. */
export class AdamW {
  private constructor(
    private readonly options: AdamWOptions,
    private readonly program: ElementwiseProgram,
  ) {}

  static async create(engine: Engine, options: AdamWOptions): Promise<AdamW> {
    const { beta1, beta2, epsilon } = options;
    const update = (inputs: Record<string, tf.Tensor>) => {
      const { gradient, decay, stepSize, inverseCorrection } = inputs;
      const first = tf.add(tf.mul(inputs.first, beta1), tf.mul(gradient, 1 - beta1));
      const second = tf.add(tf.mul(inputs.second, beta2), tf.mul(tf.square(gradient), 1 - beta2));
      const deviation = tf.add(tf.mul(tf.sqrt(second), inverseCorrection), epsilon);
      const weight = tf.sub(tf.mul(inputs.weight, decay), tf.mul(tf.div(first, deviation), stepSize));
      return { weight, first, second };
    };
    const tensors = ['weight', 'gradient', 'first', 'second'];
    const scalars = ['decay', 'stepSize', 'inverseCorrection'];
    return new AdamW(options, await engine.elementwise(update, tensors, scalars));
  }

  /** Updates one parameter and its moments in place. `step` counts the optimizer's steps from 1. */
  async update(
    name: string,
    weight: DeviceTensor,
    gradient: DeviceTensor,
    moments: Moments,
    learningRate: number,
    step: number,
  ): Promise<void> {
    const { weightDecay, beta1, beta2 } = this.options;
    await this.program.run(
      { weight, gradient, ...moments },
      {
        decay: isDecayed(name) ? 1 - learningRate * weightDecay : 1,
        stepSize: learningRate / (1 - beta1 ** step),
        inverseCorrection: 1 / Math.sqrt(1 - beta2 ** step),
      },
    );
  }

  dispose(): Promise<void> {
    return this.program.dispose();
  }
}
