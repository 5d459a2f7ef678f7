import type { LazyTensor, LazyTensors } from '../io/tensor.js';

/** Where training stood when a checkpoint was written. */
export interface TrainingState {
  /** epochs begun: an epoch's last checkpoint has its number, counted from 1 */
  epoch: number;
  /** optimizer steps of the run */
  step: number;
  /** of the run */
  name: string;
  optimizer?: OptimizerState;
  /** adapters that are being trained, and the weights below them; only checkpoint directories hold such */
  adapters?: LazyTensors;
}

/** AdamW's memory, and the hyper-parameters of its last step. */
export interface OptimizerState {
  /** updates that each parameter has had */
  step: number;
  learningRate: number;
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** of every trainable parameter, by its name: running means of the gradient and of its square */
  moments: ReadonlyMap<string, { first: LazyTensor; second: LazyTensor }>;
}

/** AdamW's memory as named tensors: `NAME.exp_avg` and `NAME.exp_avg_sq`, torch.optim's words. */
export function momentTensors({ moments }: Pick<OptimizerState, 'moments'>): Map<string, LazyTensor> {
  const tensors = new Map<string, LazyTensor>();
  for (const [name, { first, second }] of moments) {
    tensors.set(`${name}.exp_avg`, first);
    tensors.set(`${name}.exp_avg_sq`, second);
  }
  return tensors;
}
