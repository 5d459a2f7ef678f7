import type { Tensor } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Block, RunBlock } from '../nn/blocks.js';
import { after } from '../nn/fused.js';
import type { Weights } from '../nn/layers.js';

/**
 * Gradient checkpointing (Chen et al., 2016): nothing of a block is held for its gradient but its input; the backward
 * pass runs the block once more. The result and the gradients are those of the block itself.
 *
 * @param trainable names of the weights that need a gradient
 */
export function checkpointedBlocks(trainable: ReadonlySet<string>): RunBlock {
  return <T extends Tensor>(
    block: Block<T>,
    prefix: string,
    weights: Weights,
    x: T,
    ...constants: Tensor[]
  ): T => {
    const names = Object.keys(weights).filter((name) => name.startsWith(prefix) && trainable.has(name));
    const inputs = [x, ...names.map((name) => weights[name])];
    return tf.customGrad((...given) => {
      (given[inputs.length] as tf.GradSaveFunc)([...inputs, ...constants]);
      return {
        value: block(weights, x, ...constants),
        gradFunc: (dy: Tensor, [x, ...saved]: Tensor[]) => {
          const own = saved.slice(0, names.length);
          const held = saved.slice(names.length);
          const again = (x: Tensor, ...own: Tensor[]) => {
            const named = Object.fromEntries(names.map((name, i) => [name, own[i]]));
            return block({ ...weights, ...named }, x as T, ...held);
          };
          // Waiting for dy keeps the second run from being scheduled beside the first.
          return gradients(again, [after(x, dy), ...own], dy);
        },
      };
    })(...inputs) as T;
  };
}

/** Gradients inside a gradient: TensorFlow.js has one tape at a time, and forgets that of the pass around it. */
function gradients(f: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], dy: Tensor): Tensor[] {
  const { state } = tf.engine();
  const tape = state.activeTape;
  try {
    return tf.grads(f)(inputs, dy);
  } finally {
    state.activeTape = tape;
  }
}
