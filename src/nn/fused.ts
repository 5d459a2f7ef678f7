import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Differentiable operations that ONNX Runtime computes in one node, with their gradients written out. On a backend
 * without such a kernel each is a composition of TensorFlow.js operations.
 */
export function oneNode(
  kernelName: string,
  inputs: Record<string, Tensor>,
  attributes: tf.NamedAttrMap,
  composition: () => Tensor | Tensor[],
): Tensor[] {
  const result = tf.getKernel(kernelName, tf.getBackend())
    ? tf.engine().runKernel<Tensor | Tensor[]>(kernelName, inputs as tf.NamedTensorMap, attributes)
    : composition();
  return Array.isArray(result) ? result : [result];
}

/** x · weightᵀ + bias for x [rows, in], weight [out, in], bias [out]. */
export function linear(x: Tensor2D, weight: Tensor2D, bias: Tensor1D): Tensor2D {
  return tf.customGrad((a, w, b, save) => {
    const [x, weight, bias] = [a as Tensor2D, w as Tensor2D, b as Tensor1D];
    (save as tf.GradSaveFunc)([x, weight]);
    const [value] = oneNode('Linear', { x, weight, bias }, {}, () =>
      tf.add(tf.matMul(x, weight, false, true), bias),
    );
    return {
      value,
      gradFunc: (dy: Tensor, saved: Tensor[]) => [
        tf.matMul(dy as Tensor2D, saved[1] as Tensor2D),
        tf.matMul(dy as Tensor2D, saved[0] as Tensor2D, true, false),
        tf.sum(dy, 0),
      ],
    };
  })(x, weight, bias) as Tensor2D;
}

/** scale · a · b over the last two axes, either one transposed. */
export function scaledMatMul(
  a: Tensor,
  b: Tensor,
  scale: number,
  transposeA = false,
  transposeB = false,
): Tensor {
  const product = (a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean) =>
    oneNode('ScaledMatMul', { a, b }, { scale, transposeA, transposeB }, () =>
      tf.mul(tf.matMul(a, b, transposeA, transposeB), scale),
    )[0];
  return tf.customGrad((a, b, save) => {
    (save as tf.GradSaveFunc)([a as Tensor, b as Tensor]);
    return {
      value: product(a as Tensor, b as Tensor, transposeA, transposeB),
      gradFunc: (dy: Tensor, [a, b]: Tensor[]) => [
        transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB),
        transposeB ? product(dy, a, true, transposeA) : product(a, dy, !transposeA, false),
      ],
    };
  })(a, b);
}

/** Normalises the last axis to mean 0 and variance 1, then scales and shifts: weight, bias [width]. */
export function layerNorm(x: Tensor, weight: Tensor1D, bias: Tensor1D, epsilon: number): Tensor {
  return tf.customGrad((x, weight, bias, save) => {
    const [input, scale, shift] = [x as Tensor, weight as Tensor, bias as Tensor];
    const width = input.shape[input.rank - 1];
    const [value, mean, inverseDeviation] = oneNode(
      'LayerNormalization',
      { x: input, weight: scale, bias: shift },
      { epsilon },
      () => {
        const mean = lastAxisMean(input, width);
        const centred = tf.sub(input, mean);
        const variance = lastAxisMean(tf.square(centred), width);
        const inverse = tf.div(tf.onesLike(variance), tf.sqrt(tf.add(variance, epsilon)));
        return [tf.add(tf.mul(tf.mul(centred, inverse), scale), shift), mean, inverse];
      },
    );
    (save as tf.GradSaveFunc)([input, scale, mean, inverseDeviation]);
    return {
      value,
      gradFunc: (dy: Tensor, [x, weight, mean, inverse]: Tensor[]) => {
        const normal = tf.mul(tf.sub(x, mean), inverse);
        const dyNormal = tf.mul(dy, normal);
        const rows = leadingAxes(dy);
        const g = tf.mul(dy, weight);
        const along = lastAxisMean(tf.mul(g, normal), width);
        const dx = tf.mul(tf.sub(tf.sub(g, lastAxisMean(g, width)), tf.mul(normal, along)), inverse);
        return [dx, tf.sum(dyNormal, rows), tf.sum(dy, rows)];
      },
    };
  })(x, weight, bias);
}

/** x·Φ(x), the exact (erf) form that BERT uses. */
export function gelu(x: Tensor): Tensor {
  return tf.customGrad((input, save) => {
    const x = input as Tensor;
    (save as tf.GradSaveFunc)([x]);
    const [value] = oneNode('Gelu', { x }, {}, () => tf.mul(x, normalDistribution(x)));
    return {
      value,
      gradFunc: (dy: Tensor, [x]: Tensor[]) => {
        const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return tf.mul(dy, tf.add(normalDistribution(x), tf.mul(x, density)));
      },
    };
  })(x);
}

function normalDistribution(x: Tensor): Tensor {
  return tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5);
}

/** α of QuickGELU. */
export const QUICK_GELU_ALPHA = 1.702;

/** x·sigmoid(αx), OpenAI CLIP's approximation of GELU. */
export function quickGelu(x: Tensor): Tensor {
  const alpha = QUICK_GELU_ALPHA;
  return tf.customGrad((input, save) => {
    const x = input as Tensor;
    const [value] = oneNode('QuickGelu', { x }, {}, () => tf.mul(x, tf.sigmoid(tf.mul(x, alpha))));
    (save as tf.GradSaveFunc)([x, value]);
    return {
      value,
      gradFunc: (dy: Tensor, [x, y]: Tensor[]) => {
        // d/dx = s + alpha·y·(1 − s) with s = sigmoid(alpha·x)
        const s = tf.sigmoid(tf.mul(x, alpha));
        const scaled = tf.mul(y, alpha);
        return tf.mul(dy, tf.add(tf.sub(scaled, tf.mul(scaled, s)), s));
      },
    };
  })(x);
}

/** Repeats axes of length 1. TensorFlow.js' own gradients of sums hold a constant of full size instead. */
export function expand(x: Tensor, shape: number[]): Tensor {
  const axes = shape.map((_, axis) => axis).filter((axis) => x.shape[axis] !== shape[axis]);
  return tf.customGrad((input) => ({
    value: oneNode('BroadcastTo', { x: input as Tensor }, { shape }, () =>
      tf.broadcastTo(input as Tensor, shape),
    )[0],
    gradFunc: (dy: Tensor) => tf.sum(dy, axes, true),
  }))(x);
}

/**
 * Places x at `begin` in zeros of the given shape: the gradient of a slice. How many zeros follow is a difference,
 * which a symbolic shape can't express, so the kernel computes it.
 */
export function padTo(x: Tensor, begin: number[], shape: number[]): Tensor {
  return oneNode('PadTo', { x }, { begin, shape }, () =>
    tf.pad(
      x,
      shape.map((size, axis): [number, number] => [begin[axis], size - begin[axis] - x.shape[axis]]),
    ),
  )[0];
}

/** x itself, computed no sooner than `dependency`, which matters in a recording alone. Both have the batch first. */
export function after(x: Tensor, dependency: Tensor): Tensor {
  return oneNode('After', { x, dependency }, {}, () => x)[0];
}

function lastAxisMean(x: Tensor, width: number): Tensor {
  return tf.mul(tf.sum(x, -1, true), 1 / width);
}

function leadingAxes(x: Tensor): number[] {
  return x.shape.slice(0, -1).map((_, axis) => axis);
}
