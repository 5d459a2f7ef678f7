import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type {
  DeviceTensor,
  Feeds,
  HostTensor,
  Program,
  Signature,
  TensorFunction,
} from '../engine/engine.js';
import type { ContrastiveOutput } from '../model/clip.js';
import type { PartedBatch } from './accumulate.js';
import { encodePair, lossInputs, pairInputs, pairLoss, type TrainingPlan } from './towers.js';

/** Name of the output that holds a parameter's gradient. */
export const gradientName = (parameter: string) => `gradient ${parameter}`;

/** Name of the output that holds what a buffer becomes with the batch. */
export const updateName = (buffer: string) => `update ${buffer}`;

/** The forward and backward pass of a batch. */
export interface BackwardPass {
  /**
   * Loss, nearest neighbours and updates of buffers; the gradients are written to their tensors.
   *
   * @param weights all weights and adapters
   */
  run(
    batch: PartedBatch,
    weights: Feeds,
    gradients: ReadonlyMap<string, DeviceTensor>,
  ): Promise<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}

/** All rows of a batch at once. */
export class SinglePass implements BackwardPass {
  private constructor(private readonly program: Program) {}

  static async create(plan: TrainingPlan): Promise<SinglePass> {
    const { fn, signature } = trainingFunction(plan);
    return new SinglePass(await plan.model.engine.compile(fn, signature));
  }

  run(
    batch: PartedBatch,
    weights: Feeds,
    gradients: ReadonlyMap<string, DeviceTensor>,
  ): Promise<Record<string, HostTensor>> {
    const into = Object.fromEntries([...gradients].map(([name, tensor]) => [gradientName(name), tensor]));
    return this.program.run({ ...weights, ...batch.teacher, ...batch.rows(0, batch.n) }, into);
  }

  dispose(): Promise<void> {
    return this.program.dispose();
  }
}

export interface RecordableFunction {
  fn: TensorFunction;
  signature: Signature;
}

/**
 * The function of one training step: loss, nearest neighbours, the gradient of every trainable parameter and the update
 * of every buffer.
 */
export function trainingFunction(plan: TrainingPlan): RecordableFunction {
  const fn: TensorFunction = (inputs) => {
    let output: ContrastiveOutput | undefined;
    const { value, outputs } = gradientsOf(plan.trainable, inputs, () => {
      const { image, text, buffers } = encodePair(plan, inputs);
      output = pairLoss(plan, inputs, image, text);
      tf.keep(output.nearestText);
      tf.keep(output.nearestImage);
      return { value: output.loss, buffers };
    });
    const { nearestText, nearestImage } = output!;
    return { loss: value, nearestText, nearestImage, ...outputs };
  };
  return { fn, signature: signatureOf(plan, { ...pairInputs(plan), ...lossInputs(plan) }) };
}

/** The gradients of a scalar with respect to named inputs, and the updates of buffers, as outputs of a program. */
export function gradientsOf(
  names: readonly string[],
  inputs: Record<string, Tensor>,
  compute: () => { value: Tensor; buffers: Record<string, Tensor> },
): { value: Tensor; outputs: Record<string, Tensor> } {
  const outputs: Record<string, Tensor> = {};
  const { value, grads } = tf.valueAndGrads(() => {
    const { value, buffers } = compute();
    for (const [name, update] of Object.entries(buffers)) outputs[updateName(name)] = tf.keep(update);
    return value as Scalar;
  })(names.map((name) => inputs[name]));
  names.forEach((name, i) => {
    outputs[gradientName(name)] = grads[i];
  });
  return { value, outputs };
}

export function signatureOf({ model }: TrainingPlan, inputs: Signature['inputs']): Signature {
  return { inputs, limits: { length: model.config.text_max_position_embeddings } };
}
