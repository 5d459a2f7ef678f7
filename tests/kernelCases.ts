import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { DataType } from '../src/engine/engine.js';
import { expand, gelu, layerNorm, linear, padTo, quickGelu, scaledMatMul } from '../src/nn/fused.js';
import { attention, embedding, firstTokens, l2Normalize, splitHeads } from '../src/nn/layers.js';

/** An input of a case; strings in the shape are the symbolic dimensions n and m. */
export interface CaseInput {
  shape: (number | string)[];
  dtype: DataType;
  /** how to fill it: floats within [-1, 1), within [0.5, 1.5), on few values so that some are equal; or integers */
  values: 'signed' | 'positive' | 'coarse' | { below: number };
}

/** A function that both engines must compute alike. */
export interface KernelCase {
  /** the recorder's kernel that it is about */
  kernel: string;
  inputs: Record<string, CaseInput>;
  compute: (inputs: Record<string, Tensor>) => Tensor | Tensor[];
  /** no gradient is registered, or there is none */
  forwardOnly?: true;
  /** the sizes of n and m to run with; by default several, zero among them */
  sizes?: { n: number; m: number }[];
}

const float = (...shape: (number | string)[]): CaseInput => ({ shape, dtype: 'float32', values: 'signed' });
const positive = (...shape: (number | string)[]): CaseInput => ({
  shape,
  dtype: 'float32',
  values: 'positive',
});
const coarse = (...shape: (number | string)[]): CaseInput => ({ shape, dtype: 'float32', values: 'coarse' });
const int = (below: number, ...shape: (number | string)[]): CaseInput => ({
  shape,
  dtype: 'int32',
  values: { below },
});
const bool = (...shape: (number | string)[]): CaseInput => ({ shape, dtype: 'bool', values: { below: 2 } });

/** A length as a plain number: TypeScript knows too little of a tensor's rank. */
const sizeAt = (x: Tensor, axis: number): number => x.shape[axis];

/** One tensor x. */
function unary(
  kernel: string,
  x: CaseInput,
  f: (x: Tensor) => Tensor | Tensor[],
  forwardOnly?: true,
): KernelCase {
  return { kernel, inputs: { x }, compute: ({ x }) => f(x), forwardOnly };
}

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

/** Products of every pair of transpositions, in two dimensions, batched and batched with broadcasting. */
function products(
  kernel: string,
  f: (a: Tensor, b: Tensor, tA: boolean, tB: boolean) => Tensor,
): KernelCase[] {
  const order = (transposed: boolean, rows: number | string, columns: number | string) =>
    transposed ? [columns, rows] : [rows, columns];
  return [false, true].flatMap((tA) =>
    [false, true].flatMap((tB): KernelCase[] => {
      const compute: KernelCase['compute'] = ({ a, b }) => f(a, b, tA, tB);
      return [
        { kernel, inputs: { a: float(...order(tA, 'n', 3)), b: float(...order(tB, 3, 'm')) }, compute },
        {
          kernel,
          inputs: { a: float('n', 2, ...order(tA, 'm', 3)), b: float('n', 2, ...order(tB, 3, 4)) },
          compute,
        },
      ];
    }),
  );
}

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
    compute: ({ q, k, v, bias, dropout }) => attention(q, k, v, bias, dropout),
  },
  unary('Slice', float('n', 3, 4), (x) => firstTokens(tf.reshape(x, [-1, 4]) as Tensor2D, 3)),
  unary('Sqrt', positive('n', 4), (x) => l2Normalize(x as Tensor2D)),
];

export const kernelCases: readonly KernelCase[] = [
  ...arithmetic,
  ...reductions,
  ...shapes,
  ...matrix,
  ...indexing,
  ...fused,
  ...layers,
];
