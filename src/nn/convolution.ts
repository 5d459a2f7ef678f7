import type { Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { oneNode } from './fused.js';

export interface ConvolutionOptions {
  /** 1 by default */
  stride?: number;
  /** zeros added on every side, 0 by default */
  padding?: number;
  /** [out] */
  bias?: Tensor1D;
}

/**
 * Two-dimensional convolution, cross-correlation as in PyTorch: x [batch, in, height, width], weight
 * [out, in, rows, columns] → [batch, out, …]. One Conv node in a recording. TensorFlow.js computes it with the channels
 * last, and pads beforehand: its native backends know no other padding.
 */
export function convolution(
  x: Tensor4D,
  weight: Tensor4D,
  { stride = 1, padding = 0, bias }: ConvolutionOptions = {},
): Tensor4D {
  const [batch, , height, width] = x.shape;
  const [outputs, , rows, columns] = weight.shape;
  const steps = (length: number, size: number) => Math.floor((length + 2 * padding - size) / stride) + 1;
  const shape = [batch, outputs, steps(height, rows), steps(width, columns)];
  const inputs = [x, weight, ...(bias === undefined ? [] : [bias])];
  return tf.customGrad((...given) => {
    const [x, weight, bias] = given.slice(0, inputs.length) as [Tensor4D, Tensor4D, Tensor1D?];
    (given[inputs.length] as tf.GradSaveFunc)([x, weight]);
    const [value] = oneNode(
      'Convolution',
      bias === undefined ? { x, weight } : { x, weight, bias },
      { stride, padding, shape },
      () => {
        const filter = tf.transpose(weight, [2, 3, 1, 0]);
        const y = tf.conv2d(channelsLast(padded(x, padding)), filter, stride, 'valid');
        return channelsFirst(bias === undefined ? y : tf.add(y, bias));
      },
    );
    return {
      value,
      gradFunc: (dy: Tensor, [x, weight]: Tensor[]) => [
        inputGradient(dy as Tensor4D, weight as Tensor4D, stride, padding, x.shape),
        weightGradient(x as Tensor4D, dy as Tensor4D, stride, padding, weight.shape),
        ...(bias === undefined ? [] : [tf.sum(dy, [0, 2, 3])]),
      ],
    };
  })(...inputs) as Tensor4D;
}

/** Gradient of a convolution's input, of the given shape. */
function inputGradient(
  dy: Tensor4D,
  weight: Tensor4D,
  stride: number,
  padding: number,
  shape: number[],
): Tensor {
  return oneNode('ConvolutionInputGradient', { dy, weight }, { stride, padding, shape }, () => {
    const [batch, channels, height, width] = shape;
    const filter = tf.transpose(weight, [2, 3, 1, 0]);
    const paddedShape: [number, number, number, number] = [
      batch,
      height + 2 * padding,
      width + 2 * padding,
      channels,
    ];
    const dx = tf.conv2dTranspose(channelsLast(dy), filter, paddedShape, stride, 'valid');
    return channelsFirst(tf.slice(dx, [0, padding, padding, 0], [batch, height, width, channels]));
  })[0];
}

/** Gradient of a convolution's weight, of the given shape. */
function weightGradient(x: Tensor4D, dy: Tensor4D, stride: number, padding: number, shape: number[]): Tensor {
  return oneNode('ConvolutionWeightGradient', { x, dy }, { stride, padding, shape }, () => {
    const [outputs, inputs, rows, columns] = shape;
    // TensorFlow.js has this kernel, but no function that calls it.
    const filter = tf.engine().runKernel<Tensor>(
      'Conv2DBackpropFilter',
      { x: channelsLast(padded(x, padding)), dy: channelsLast(dy) },
      {
        strides: [stride, stride],
        pad: 'valid',
        dataFormat: 'NHWC',
        filterShape: [rows, columns, inputs, outputs],
      },
    );
    return tf.transpose(filter, [3, 2, 0, 1]);
  })[0];
}

/** Means of squares of size × size pixels, which must tile the image: x [batch, channels, height, width]. */
export function averagePool(x: Tensor4D, size: number): Tensor4D {
  const [batch, channels, height, width] = x.shape;
  const [rows, columns] = [height / size, width / size];
  return tf.customGrad((x) => ({
    value: oneNode('AveragePooling', { x: x as Tensor }, { size }, () => {
      const squares = tf.reshape(x as Tensor, [batch * channels * rows, size, columns, size]);
      const means = tf.mul(tf.sum(squares, [1, 3]), 1 / size ** 2);
      return tf.reshape(means, [batch, channels, rows, columns]);
    })[0],
    gradFunc: (dy: Tensor) => repeatPixels(tf.mul(dy, 1 / size ** 2), size),
  }))(x) as Tensor4D;
}

/** Makes a square of size × size pixels of each: x [batch, channels, height, width]. */
function repeatPixels(x: Tensor, size: number): Tensor {
  return oneNode('RepeatPixels', { x }, { size }, () => {
    const [batch, channels, height, width] = x.shape;
    const rows = batch * channels * height;
    const squares = tf.broadcastTo(tf.reshape(x, [rows, 1, width, 1]), [rows, size, width, size]);
    return tf.reshape(squares, [batch, channels, height * size, width * size]);
  })[0];
}

function padded(x: Tensor4D, padding: number): Tensor4D {
  const side: [number, number] = [padding, padding];
  return padding === 0 ? x : tf.pad(x, [[0, 0], [0, 0], side, side]);
}

function channelsLast(x: Tensor4D): Tensor4D {
  return tf.transpose(x, [0, 2, 3, 1]);
}

function channelsFirst(x: Tensor4D): Tensor4D {
  return tf.transpose(x, [0, 3, 1, 2]);
}
