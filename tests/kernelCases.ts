import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../src/nn/layers.js';
import {
  bool,
  coarse,
  float,
  int,
  type KernelCase,
  positive,
  products,
  sizeAt,
  unary,
} from './kernelCase.js';

/** Two tensors of every pair of shapes that broadcasting tells apart. */
function binary(kernel: string, f: (a: Tensor, b: Tensor) => Tensor, b: typeof float): KernelCase[] {
  return [
    [float(2, 3), b(2, 3)],
    [float('n', 3), b('n', 3)],
    [float('n', 'm'), b('m')],
    [float('n', 1, 3), b('m', 1)],
    [float(), b('n', 2)],
    [float('n', 2), b()],
  ].map(([a, b]) => ({ kernel, inputs: { a, b }, compute: ({ a, b }) => f(a, b) }));
}

const arithmetic: KernelCase[] = [
  unary('Identity', float('n', 3), (x) => tf.clone(x), true),
  unary('Cast', float('n', 3), (x) => tf.cast(tf.mul(x, 3), 'int32'), true),
  unary('Cast', float('n', 3), (x) => tf.cast(x, 'bool'), true),
  unary('Cast', int(3, 'n'), (x) => tf.cast(x, 'float32'), true),
  unary('Cast', bool('n'), (x) => tf.cast(x, 'float32'), true),
  unary('Neg', float('n', 3), tf.neg),
  unary('Exp', float('n', 3), tf.exp),
  unary('Log', positive('n', 3), tf.log, true),
  unary('Sqrt', positive('n', 3), tf.sqrt),
  unary('Relu', float('n', 3), (x) => tf.relu(x)),
  unary('Step', coarse('n', 3), (x) => tf.step(x), true),
  unary('Erf', float('n', 3), tf.erf, true),
  unary('Sigmoid', float('n', 3), tf.sigmoid, true),
  unary('Square', float('n', 3), tf.square),
  ...binary('Add', tf.add, float),
  ...binary('Sub', tf.sub, float),
  ...binary('Multiply', tf.mul, float),
  ...binary('RealDiv', tf.div, positive),
  // One tensor on both sides: its gradient has two parts.
  unary('Multiply', float('n', 3), (x) => tf.mul(x, x)),
  unary('Add', int(9, 'n', 3), (x) => tf.add(x, tf.scalar(4, 'int32')), true),
  unary('NotEqual', int(2, 'n', 3), (x) => tf.notEqual(x, tf.scalar(0, 'int32')), true),
  unary('NotEqual', coarse('n', 3), (x) => tf.notEqual(x, 0.5), true),
  unary('ZerosLike', float('n', 3), tf.zerosLike, true),
  unary('ZerosLike', bool('n', 3), tf.zerosLike, true),
  unary('OnesLike', float('n', 'm'), tf.onesLike, true),
  unary('OnesLike', int(5, 'n'), tf.onesLike, true),
];

const reductions: KernelCase[] = [
  unary('Sum', float('n', 3, 'm'), (x) => tf.sum(x)),
  unary('Sum', float('n', 3, 'm'), (x) => tf.sum(x, 1)),
  unary('Sum', float('n', 3, 'm'), (x) => tf.sum(x, [0, -1])),
  unary('Sum', float('n', 3, 'm'), (x) => tf.sum(x, -1, true)),
  unary('Sum', float(2, 3), (x) => tf.sum(x, 0)),
  unary('Sum', int(5, 'n', 3), (x) => tf.sum(x, 1), true),
  // The mean of no values is not a number.
  ...[
    unary('Mean', float('n', 3, 'm'), (x) => tf.mean(x), true),
    unary('Mean', float('n', 3, 'm'), (x) => tf.mean(x, [1, 2], true), true),
    unary('Mean', float('n', 3), (x) => tf.mean(x, 0), true),
  ].map((mean) => ({ ...mean, sizes: [{ n: 3, m: 2 }] })),
  { ...unary('Max', float('n', 3, 'm'), (x) => tf.max(x), true), sizes: [{ n: 2, m: 3 }] },
  unary('Max', float('n', 3), (x) => tf.max(x, 1, true), true),
  unary('Max', float('n', 3), (x) => tf.max(x, -1), true),
  unary('Max', float(3, 'n', 4), (x) => tf.max(x, [0, 2]), true),
  unary('ArgMax', coarse('n', 5), (x) => tf.argMax(x, 1), true),
  unary('ArgMax', coarse(5, 'n'), (x) => tf.argMax(x, 0), true),
  unary('ArgMax', float('n', 5, 2), (x) => tf.argMax(x, -2), true),
  unary('Softmax', float('n', 5), (x) => tf.softmax(tf.mul(x, 8))),
  unary('Softmax', float('n', 'm', 5), (x) => tf.softmax(x, -1)),
  unary('Softmax', float('n', 2, 'm'), (x) => tf.softmax(x)),
];

const shapes: KernelCase[] = [
  unary('Reshape', float('n', 2, 6), (x) => tf.reshape(x, [-1, 3])),
  unary('Reshape', float('n', 'm', 4), (x) => tf.reshape(x, [sizeAt(x, 0) * sizeAt(x, 1), 4])),
  unary('Reshape', float('n', 'm', 4), (x) => tf.reshape(x, [sizeAt(x, 1), 2, sizeAt(x, 0), 2])),
  { ...unary('Reshape', float('n', 'n'), (x) => tf.reshape(x, [x.size])), sizes: [{ n: 3, m: 0 }] },
  unary('Reshape', float('n', 3), (x) => tf.reshape(x, x.shape)),
  unary('Reshape', float(2, 6), (x) => tf.reshape(x, [3, 4])),
  unary('ExpandDims', float('n', 3), (x) => tf.expandDims(x, 1), true),
  unary('ExpandDims', float('n', 'm'), (x) => tf.expandDims(x, -1), true),
  unary('Transpose', float('n', 3, 'm', 2), (x) => tf.transpose(x, [2, 0, 3, 1])),
  unary('Transpose', float('n', 3), (x) => tf.transpose(x)),
  unary('Slice', float(5, 4), (x) => tf.slice(x, [1, 2], [3, -1])),
  unary('Slice', float('n', 5), (x) => tf.slice(x, [0, 1], [-1, 2])),
  unary('Slice', float('n', 'm', 3), (x) => tf.slice(x, [0, 0, 2], [-1, sizeAt(x, 1), 1])),
  {
    // A table's first m rows, as positions are looked up.
    kernel: 'Slice',
    inputs: { table: float(9, 2), x: float('m', 2) },
    compute: ({ table, x }) => tf.mul(tf.slice(table, [0, 0], [sizeAt(x, 0), 2]), x),
  },
  {
    kernel: 'Concat',
    inputs: { a: float('n', 2), b: float('n', 3), c: float('n', 1) },
    compute: ({ a, b, c }) => tf.concat([a, b, c], 1),
  },
  {
    kernel: 'Concat',
    inputs: { a: float('n', 2, 'm'), b: float('n', 1, 'm') },
    compute: ({ a, b }) => tf.concat([a, b], -2),
  },
  {
    kernel: 'Concat',
    inputs: { a: float('n', 2), b: float('m', 2) },
    compute: ({ a, b }) => tf.concat([a, b]),
    sizes: [{ n: 3, m: 2 }],
    forwardOnly: true,
  },
  unary('SplitV', float('n', 6), (x) => tf.split(x, 3, 1)),
  unary('SplitV', float('n', 6, 'm'), (x) => tf.split(x, [1, 3, 2], -2)),
  unary('SplitV', float('n', 6), (x) => tf.split(x, 1, 1)),
  unary(
    'PadV2',
    float('n', 3),
    (x) =>
      tf.pad(x, [
        [1, 0],
        [0, 2],
      ]),
    true,
  ),
  unary(
    'PadV2',
    float(2, 3),
    (x) =>
      tf.pad(
        x,
        [
          [0, 1],
          [2, 0],
        ],
        0.5,
      ),
    true,
  ),
  unary(
    'PadV2',
    int(9, 'n', 3),
    (x) =>
      tf.pad(
        x,
        [
          [0, 0],
          [1, 1],
        ],
        7,
      ),
    true,
  ),
  unary('Tile', float('n', 3), (x) => tf.tile(x, [2, 3]), true),
  unary('Tile', float(1, 3), (x) => tf.tile(x, [4, 1]), true),
  {
    kernel: 'Tile',
    inputs: { x: float(1, 3), rows: float('n') },
    compute: ({ x, rows }) => tf.tile(x, [sizeAt(rows, 0), 2]),
    forwardOnly: true,
  },
  unary('Fill', float('n', 3), (x) => tf.fill([sizeAt(x, 0), 2], 2.5), true),
  unary('Fill', float('n', 3), (x) => tf.fill([sizeAt(x, 0)], 3, 'int32'), true),
];

const matrix: KernelCase[] = [
  ...products('BatchMatMul', tf.matMul),
  {
    kernel: 'BatchMatMul',
    inputs: { a: float('n', 2, 3), b: float(1, 3, 4) },
    compute: ({ a, b }) => tf.matMul(a, b),
    forwardOnly: true,
    // Not zero: TensorFlow.js then takes the larger size, 1.
    sizes: [{ n: 3, m: 0 }],
  },
];

const indexing: KernelCase[] = [
  {
    kernel: 'GatherV2',
    inputs: { table: float(5, 2), ids: int(5, 'n', 'm') },
    compute: ({ table, ids }) => tf.gather(table, ids as Tensor2D),
    forwardOnly: true,
  },
  {
    kernel: 'GatherV2',
    inputs: { table: float(3, 5), ids: int(5, 'n') },
    compute: ({ table, ids }) => tf.gather(table, ids as Tensor1D, 1),
    forwardOnly: true,
  },
  {
    kernel: 'UnsortedSegmentSum',
    inputs: { x: float('n', 3), ids: int(4, 'n') },
    compute: ({ x, ids }) => tf.unsortedSegmentSum(x, ids as Tensor1D, 4),
    forwardOnly: true,
  },
  {
    kernel: 'UnsortedSegmentSum',
    inputs: { table: float(6, 3), ids: int(6, 'n', 'm') },
    compute: ({ table, ids }) => embedding(table as Tensor2D, ids),
  },
];

/** The kernels of TensorFlow.js that the recorder has. */
export const kernelCases: readonly KernelCase[] = [
  ...arithmetic,
  ...reductions,
  ...shapes,
  ...matrix,
  ...indexing,
];
