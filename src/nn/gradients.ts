import type { GradConfig, NamedAttrMap, Tensor } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { expand, padTo } from './fused.js';

/**
 * Gradients of the TensorFlow.js kernels that the model is written with. The core package registers none by itself,
 * and those of the full package hold constants of activation size, which a recording would store as data.
 */
const gradients: GradConfig[] = [
  {
    kernelName: 'Add',
    inputsToSave: ['a', 'b'],
    gradFunc: one((dy, [a, b]) => ({ a: () => reduceTo(dy, a), b: () => reduceTo(dy, b) })),
  },
  {
    kernelName: 'Sub',
    inputsToSave: ['a', 'b'],
    gradFunc: one((dy, [a, b]) => ({ a: () => reduceTo(dy, a), b: () => reduceTo(tf.neg(dy), b) })),
  },
  {
    kernelName: 'Multiply',
    inputsToSave: ['a', 'b'],
    gradFunc: one((dy, [a, b]) => ({
      a: () => reduceTo(tf.mul(dy, b), a),
      b: () => reduceTo(tf.mul(dy, a), b),
    })),
  },
  {
    kernelName: 'RealDiv',
    inputsToSave: ['a', 'b'],
    outputsToSave: [true],
    gradFunc: one((dy, [a, b, quotient]) => ({
      a: () => reduceTo(tf.div(dy, b), a),
      b: () => reduceTo(tf.neg(tf.mul(dy, tf.div(quotient, b))), b),
    })),
  },
  {
    kernelName: 'Neg',
    gradFunc: one((dy) => ({ x: () => tf.neg(dy) })),
  },
  {
    kernelName: 'Exp',
    outputsToSave: [true],
    gradFunc: one((dy, [y]) => ({ x: () => tf.mul(dy, y) })),
  },
  {
    kernelName: 'Sqrt',
    outputsToSave: [true],
    gradFunc: one((dy, [y]) => ({ x: () => tf.div(tf.mul(dy, 0.5), y) })),
  },
  {
    kernelName: 'Relu',
    outputsToSave: [true],
    gradFunc: one((dy, [y]) => ({ x: () => tf.mul(dy, tf.step(y)) })),
  },
  {
    kernelName: 'Square',
    inputsToSave: ['x'],
    gradFunc: one((dy, [x]) => ({ x: () => tf.mul(dy, tf.mul(x, 2)) })),
  },
  {
    kernelName: 'Sum',
    inputsToSave: ['x'],
    gradFunc: one((dy, [x], { axis }) => ({
      x: () => {
        const axes = tf.util.parseAxisParam(axis as number[], x.shape);
        const kept = x.shape.map((size, i) => (axes.includes(i) ? 1 : size));
        return expand(tf.reshape(dy, kept), x.shape);
      },
    })),
  },
  {
    kernelName: 'Softmax',
    outputsToSave: [true],
    gradFunc: one((dy, [y], { dim }) => ({
      logits: () => {
        const weighted = tf.mul(dy, y);
        return tf.sub(weighted, tf.mul(tf.sum(weighted, dim as number, true), y));
      },
    })),
  },
  {
    kernelName: 'Reshape',
    inputsToSave: ['x'],
    gradFunc: one((dy, [x]) => ({ x: () => tf.reshape(dy, x.shape) })),
  },
  {
    kernelName: 'Transpose',
    gradFunc: one((dy, _, { perm }) => ({
      x: () =>
        tf.transpose(
          dy,
          (perm as number[]).map((_, axis) => (perm as number[]).indexOf(axis)),
        ),
    })),
  },
  {
    kernelName: 'Slice',
    inputsToSave: ['x'],
    gradFunc: one((dy, [x], { begin, size }) => ({
      x: () => padTo(dy, tf.slice_util.parseSliceParams(x, begin as number[], size as number[])[0], x.shape),
    })),
  },
  {
    kernelName: 'Concat',
    saveAllInputs: true,
    gradFunc: one((dy, inputs, { axis }) => {
      const [dimension] = tf.util.parseAxisParam(axis as number, dy.shape);
      const parts = tf.split(
        dy,
        inputs.map(({ shape }) => shape[dimension]),
        dimension,
      );
      return Object.fromEntries(parts.map((part, i) => [i, () => part]));
    }),
  },
  {
    kernelName: 'SplitV',
    gradFunc: (dy, _, { axis }) => ({ x: () => tf.concat([dy].flat(), axis as number) }),
  },
  {
    kernelName: 'BatchMatMul',
    inputsToSave: ['a', 'b'],
    gradFunc: one((dy, [a, b], { transposeA, transposeB }) => ({
      a: () => (transposeA ? tf.matMul(b, dy, !!transposeB, true) : tf.matMul(dy, b, false, !transposeB)),
      b: () => (transposeB ? tf.matMul(dy, a, true, !!transposeA) : tf.matMul(a, dy, !transposeA, false)),
    })),
  },
];

type Gradient = (dy: Tensor, saved: Tensor[], attributes: NamedAttrMap) => Record<string, () => Tensor>;

/** A kernel with one output. */
function one(gradient: Gradient): GradConfig['gradFunc'] {
  return (dy, saved, attributes) => gradient(dy as Tensor, saved, attributes);
}

/** Undoes broadcasting: sums dy over the axes along which x was repeated. */
function reduceTo(dy: Tensor, x: Tensor): Tensor {
  const axes = tf.broadcast_util.getReductionAxes(x.shape, dy.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(dy, axes) : dy, x.shape);
}

/** Registers the gradients, in the place of others that a TensorFlow.js package may have registered. */
export function registerGradients(): void {
  for (const gradient of gradients) tf.registerGradient(gradient);
}

registerGradients();
