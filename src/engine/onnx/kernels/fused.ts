import { broadcast_util, type TensorInfo } from '@tensorflow/tfjs-core';
import { QUICK_GELU_ALPHA } from '../../../nn/fused.js';
import { Float, type Graph } from '../graph.js';
import type { RecorderKernel } from './kernel.js';
import { product, withoutAliasing } from './matrix.js';

const linear: RecorderKernel = (graph, { inputs: { x, weight, bias } }) => {
  const factors = withoutAliasing(graph, x, weight, true);
  return graph.emit('Gemm', [...factors, bias], [x.shape[0], weight.shape[0]], x.dtype, { transB: 1 });
};

const scaledMatMul: RecorderKernel = (graph, { inputs: { a, b }, attrs }) =>
  product(graph, a, b, attrs.transposeA === true, attrs.transposeB === true, attrs.scale as number);

/**
 * Also returns the mean and the inverse standard deviation, which the backward pass needs. Opsets before 17 don't have
 * the operator.
 */
const layerNormalization: RecorderKernel = (graph, { inputs: { x, weight, bias }, attrs }) => {
  if (graph.operators.opset < 17) {
    return composedLayerNormalization(graph, x, weight, bias, attrs.epsilon as number);
  }
  const statistics = [...x.shape.slice(0, -1), 1];
  const shapes = [x.shape, statistics, statistics];
  const names = graph.append('LayerNormalization', [x, weight, bias], 3, {
    axis: -1,
    epsilon: new Float(attrs.epsilon as number),
  });
  return names.map((name, i): TensorInfo => ({ dataId: { name }, shape: shapes[i], dtype: x.dtype }));
};

function composedLayerNormalization(
  graph: Graph,
  x: TensorInfo,
  weight: TensorInfo,
  bias: TensorInfo,
  epsilon: number,
): TensorInfo[] {
  const statistics = [...x.shape.slice(0, -1), 1];
  const number = (value: number) => graph.scalar(value, x.dtype);
  const emit = (op: string, inputs: (TensorInfo | string)[], shape = x.shape) =>
    graph.emit(op, inputs, shape, x.dtype);
  const mean = (of: TensorInfo) => graph.emit('ReduceMean', [of], statistics, x.dtype, { axes: [-1] });
  const average = mean(x);
  const centred = emit('Sub', [x, average]);
  const variance = mean(emit('Pow', [centred, number(2)]));
  const deviation = emit('Sqrt', [emit('Add', [variance, number(epsilon)], statistics)], statistics);
  const normal = emit('Div', [centred, deviation]);
  const value = emit('Add', [emit('Mul', [normal, weight]), bias]);
  return [value, average, emit('Div', [number(1), deviation], statistics)];
}

/** Opsets before 20 don't have the operator; ONNX Runtime knows its composition. */
const gelu: RecorderKernel = (graph, { inputs: { x } }) => {
  const emit = (op: string, ...inputs: (TensorInfo | string)[]) => graph.emit(op, inputs, x.shape, x.dtype);
  if (graph.operators.opset >= 20) return emit('Gelu', x);
  const number = (value: number) => graph.scalar(value, x.dtype);
  const erf = emit('Erf', emit('Div', x, number(Math.SQRT2)));
  return emit('Mul', emit('Mul', x, emit('Add', erf, number(1))), number(0.5));
};

const quickGelu: RecorderKernel = (graph, { inputs: { x } }) => {
  const alpha = QUICK_GELU_ALPHA;
  const emit = (op: string, ...inputs: (TensorInfo | string)[]) => graph.emit(op, inputs, x.shape, x.dtype);
  if (graph.operators.microsoft) {
    return graph.emit('com.microsoft/QuickGelu', [x], x.shape, x.dtype, { alpha: new Float(alpha) });
  }
  return emit('Mul', x, emit('Sigmoid', emit('Mul', x, graph.scalar(alpha, x.dtype))));
};

const broadcastTo: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const shape = attrs.shape as number[];
  broadcast_util.assertAndGetBroadcastShape(x.shape, shape);
  return graph.emit('Expand', [x, graph.shapeVector(shape)], shape, x.dtype);
};

const padTo: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const begin = attrs.begin as number[];
  const shape = attrs.shape as number[];
  const [room] = graph.append('Sub', [graph.shapeVector(shape), graph.shapeVector(x.shape)], 1);
  const [after] = graph.append('Sub', [room, graph.integers(...begin)], 1);
  const [pads] = graph.append('Concat', [graph.integers(...begin), after], 1, { axis: 0 });
  return graph.emit('Pad', [x, pads], shape, x.dtype);
};

/** A Reshape to x's own shape that reads one number of the dependency's shape: no value is copied or computed. */
const after: RecorderKernel = (graph, { inputs: { x, dependency } }) => {
  const [rows] = graph.append('Shape', [dependency], 1, { start: 0, end: 1 });
  // Always −1, the mark for the length that is left open; ONNX Runtime can't know it beforehand.
  const [open] = graph.append('Min', [rows, graph.integers(-1)], 1);
  const [shape] = graph.append('Concat', [open, graph.integers(...x.shape.slice(1))], 1, { axis: 0 });
  return graph.emit('Reshape', [x, shape], x.shape, x.dtype);
};

/** Operations of src/nn/fused.ts that ONNX Runtime computes in one node; elsewhere they are compositions. */
export const fused: Record<string, RecorderKernel> = {
  Linear: linear,
  ScaledMatMul: scaledMatMul,
  LayerNormalization: layerNormalization,
  Gelu: gelu,
  QuickGelu: quickGelu,
  BroadcastTo: broadcastTo,
  PadTo: padTo,
  After: after,
};
