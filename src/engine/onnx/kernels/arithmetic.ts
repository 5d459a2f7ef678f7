import { broadcast_util, type DataType, type TensorInfo } from '@tensorflow/tfjs-core';
import type { Graph } from '../graph.js';
import type { RecorderKernel } from './kernel.js';

/** One input, same shape and type. */
const unary =
  (op: string): RecorderKernel =>
  (graph, { inputs: { x } }) =>
    graph.emit(op, [x], x.shape, x.dtype);

/** Two inputs with numpy's broadcasting. */
const binary =
  (op: string, dtype?: DataType): RecorderKernel =>
  (graph, { inputs: { a, b } }) =>
    graph.emit(op, [a, b], broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape), dtype ?? a.dtype);

const cast: RecorderKernel = (graph, { inputs: { x }, attrs }) => castTo(graph, x, attrs.dtype as DataType);

const onnxType: Partial<Record<DataType, number>> = { float32: 1, int32: 6, bool: 9 };

/** Converts a tensor's type; the same tensor where it already has it. */
export function castTo(graph: Graph, x: TensorInfo, dtype: DataType): TensorInfo {
  return x.dtype === dtype ? x : graph.emit('Cast', [x], x.shape, dtype, { to: onnxType[dtype]! });
}

/** 1 where x is positive, 0 elsewhere. */
const step: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  if (attrs.alpha) throw new Error('Step is recorded without a slope below zero');
  const positive = graph.emit('Greater', [x, graph.scalar(0, x.dtype)], x.shape, 'bool');
  return castTo(graph, positive, x.dtype);
};

const filled =
  (value: number): RecorderKernel =>
  (graph, { inputs: { x } }) =>
    graph.emit('Expand', [graph.scalar(value, x.dtype), graph.shapeVector(x.shape)], x.shape, x.dtype);

/** Elementwise kernels. */
export const arithmetic: Record<string, RecorderKernel> = {
  Identity: (_, { inputs: { x } }) => x,
  Cast: cast,
  Neg: unary('Neg'),
  Exp: unary('Exp'),
  Log: unary('Log'),
  Sqrt: unary('Sqrt'),
  Relu: unary('Relu'),
  Erf: unary('Erf'),
  Sigmoid: unary('Sigmoid'),
  Square: (graph, { inputs: { x } }) => graph.emit('Mul', [x, x], x.shape, x.dtype),
  Add: binary('Add'),
  Sub: binary('Sub'),
  Multiply: binary('Mul'),
  RealDiv: binary('Div'),
  NotEqual: (graph, call) => {
    const equal = binary('Equal', 'bool')(graph, call) as TensorInfo;
    return graph.emit('Not', [equal], equal.shape, 'bool');
  },
  Step: step,
  ZerosLike: filled(0),
  OnesLike: filled(1),
};
