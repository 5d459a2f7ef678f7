import type { Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { attention, singleQueryAttention, splitHeads } from '../src/nn/attention.js';
import { batchNorm } from '../src/nn/batchNorm.js';
import { averagePool, type ConvolutionOptions, convolution } from '../src/nn/convolution.js';
import { after, expand, gelu, layerNorm, linear, padTo, quickGelu, scaledMatMul } from '../src/nn/fused.js';
import { firstTokens, l2Normalize } from '../src/nn/layers.js';
import { float, int, type KernelCase, positive, products, sizeAt, unary } from './kernelCase.js';

const fused: KernelCase[] = [
  {
    kernel: 'Linear',
    inputs: { x: float('n', 3), weight: float(4, 3), bias: float(4) },
    compute: ({ x, weight, bias }) => linear(x as Tensor2D, weight as Tensor2D, bias as Tensor1D),
  },
  ...products('ScaledMatMul', (a, b, tA, tB) => scaledMatMul(a, b, 0.3, tA, tB)),
  ...[[float('n', 6)], [float('n', 'm', 6)]].map(
    ([x]): KernelCase => ({
      kernel: 'LayerNormalization',
      inputs: { x, weight: positive(6), bias: float(6) },
      compute: ({ x, weight, bias }) => layerNorm(x, weight as Tensor1D, bias as Tensor1D, 1e-5),
    }),
  ),
  unary('Gelu', float('n', 'm'), (x) => gelu(tf.mul(x, 3))),
  unary('QuickGelu', float('n', 'm'), (x) => quickGelu(tf.mul(x, 3))),
  unary('BroadcastTo', float('n', 1, 3), (x) => expand(x, [sizeAt(x, 0), 4, 3])),
  {
    kernel: 'BroadcastTo',
    inputs: { x: float(1, 1, 3), like: int(2, 'n', 'm') },
    compute: ({ x, like }) => expand(x, [sizeAt(like, 0), sizeAt(like, 1), 3]),
  },
  {
    kernel: 'PadTo',
    inputs: { x: float('m', 2), like: int(2, 'n', 5) },
    compute: ({ x, like }) => padTo(x, [1, 2], [sizeAt(like, 0), sizeAt(like, 1)]),
    sizes: [
      { n: 4, m: 3 },
      { n: 9, m: 1 },
    ],
    forwardOnly: true,
  },
  {
    kernel: 'After',
    inputs: { x: float('n', 2, 3), dependency: float('m', 4) },
    compute: ({ x, dependency }) => after(x, dependency),
    forwardOnly: true,
  },
];

/** Images of 5 × 6 pixels, kernels of the given shape. */
function convolutionCases(kernel: string, shape: number[], options: ConvolutionOptions): KernelCase[] {
  const image = float('n', shape[1], 5, 6);
  return [
    {
      kernel,
      inputs: { x: image, weight: float(...shape) },
      compute: ({ x, weight }) => convolution(x as Tensor4D, weight as Tensor4D, options),
    },
    {
      kernel,
      inputs: { x: image, weight: float(...shape), bias: float(shape[0]) },
      compute: ({ x, weight, bias }) =>
        convolution(x as Tensor4D, weight as Tensor4D, { ...options, bias: bias as Tensor1D }),
    },
  ];
}

const images: KernelCase[] = [
  ...convolutionCases('Convolution', [4, 3, 1, 1], {}),
  ...convolutionCases('Convolution', [4, 3, 3, 3], { padding: 1 }),
  ...convolutionCases('ConvolutionInputGradient', [2, 3, 2, 3], {}),
  ...convolutionCases('ConvolutionInputGradient', [2, 3, 3, 2], { stride: 2, padding: 1 }),
  ...convolutionCases('ConvolutionWeightGradient', [4, 2, 1, 1], { stride: 2 }),
  ...convolutionCases('ConvolutionWeightGradient', [4, 2, 3, 3], { stride: 2, padding: 1 }),
  unary('AveragePooling', float('n', 3, 4, 6), (x) => averagePool(x as Tensor4D, 2)),
  unary('RepeatPixels', float('n', 2, 6, 3), (x) => averagePool(x as Tensor4D, 3)),
  {
    kernel: 'Mean',
    inputs: { x: float('n', 3, 2, 2), weight: positive(3), bias: float(3) },
    compute: ({ x, weight, bias }) => {
      const [scale, shift] = [weight as Tensor1D, bias as Tensor1D];
      // Far from zero: the mean must not drown what varies.
      return batchNorm(tf.add(tf.mul(x, 2), 8) as Tensor4D, scale, shift, 1e-5).value;
    },
    sizes: [
      { n: 3, m: 1 },
      { n: 1, m: 1 },
    ],
  },
  {
    kernel: 'Mean',
    inputs: { x: float('n', 3, 2, 4) },
    compute: ({ x }) => {
      const ones = tf.ones([3]) as Tensor1D;
      const { mean, variance } = batchNorm(x as Tensor4D, ones, ones, 1e-5);
      return [mean, variance];
    },
    sizes: [{ n: 3, m: 1 }],
    forwardOnly: true,
  },
];

/** The layers of src/nn, each under the kernel that it leans on most. */
const layers: KernelCase[] = [
  unary('Transpose', float('n', 3, 4), (x) => splitHeads(tf.reshape(x, [-1, 4]), 3, 2)),
  {
    kernel: 'Softmax',
    inputs: {
      q: float('n', 2, 'm', 3),
      k: float('n', 2, 5, 3),
      v: float('n', 2, 5, 3),
      bias: float('n', 1, 1, 5),
      dropout: positive('n', 2, 'm', 5),
    },
    compute: ({ q, k, v, bias, dropout }) => attention(q, k, v, { bias, dropout }),
  },
  {
    kernel: 'BatchMatMul',
    inputs: {
      query: float('n', 6),
      x: float('n', 'm', 5),
      keyWeight: float(6, 5),
      keyBias: float(6),
      valueWeight: float(6, 5),
      valueBias: float(6),
      bias: float('n', 1, 1, 'm'),
      dropout: positive('n', 2, 1, 'm'),
    },
    compute: ({ query, x, keyWeight, keyBias, valueWeight, valueBias, bias, dropout }) =>
      singleQueryAttention(
        query as Tensor2D,
        tf.reshape(x, [-1, 5]) as Tensor2D,
        {
          key: { weight: keyWeight as Tensor2D, bias: keyBias as Tensor1D },
          value: { weight: valueWeight as Tensor2D, bias: valueBias as Tensor1D },
        },
        { tokens: sizeAt(x, 1), heads: 2, bias, dropout },
      ),
    // No empty batch: ONNX Runtime leaves the sum of a batched product over no rows, a weight's gradient, unwritten.
    sizes: [
      { n: 3, m: 2 },
      { n: 1, m: 5 },
      { n: 4, m: 4 },
    ],
  },
  {
    kernel: 'BatchMatMul',
    inputs: { query: float('n', 6), x: float('n', 'm', 5), weight: float(6, 5), bias: float(6) },
    compute: ({ query, x, weight, bias }) => {
      const layer = { weight: weight as Tensor2D, bias: bias as Tensor1D };
      const sequences = tf.reshape(x, [-1, 5]) as Tensor2D;
      const options = { tokens: sizeAt(x, 1), heads: 2 };
      return singleQueryAttention(query as Tensor2D, sequences, { key: layer, value: layer }, options);
    },
    sizes: [{ n: 0, m: 2 }],
    forwardOnly: true,
  },
  unary('Slice', float('n', 3, 4), (x) => firstTokens(tf.reshape(x, [-1, 4]) as Tensor2D, 3)),
  unary('Sqrt', positive('n', 4), (x) => l2Normalize(x as Tensor2D)),
];

export const layerCases: readonly KernelCase[] = [...fused, ...images, ...layers];
