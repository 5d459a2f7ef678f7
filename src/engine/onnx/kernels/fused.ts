import { broadcast_util, type TensorInfo } from '@tensorflow/tfjs-core';
import { Float } from '../graph.js';
import type { RecorderKernel } from './kernel.js';
import { product } from './matrix.js';

const linear: RecorderKernel = (graph, { inputs: { x, weight, bias } }) =>
  graph.emit('Gemm', [x, weight, bias], [x.shape[0], weight.shape[0]], x.dtype, { transB: 1 });

const scaledMatMul: RecorderKernel = (graph, { inputs: { a, b }, attrs }) =>
  product(graph, a, b, attrs.transposeA === true, attrs.transposeB === true, attrs.scale as number);

/** Also returns the mean and the inverse standard deviation, which the backward pass needs. */
const layerNormalization: RecorderKernel = (graph, { inputs: { x, weight, bias }, attrs }) => {
  const statistics = [...x.shape.slice(0, -1), 1];
  const shapes = [x.shape, statistics, statistics];
  const names = graph.append('LayerNormalization', [x, weight, bias], 3, {
    axis: -1,
    epsilon: new Float(attrs.epsilon as number),
  });
  return names.map((name, i): TensorInfo => ({ dataId: { name }, shape: shapes[i], dtype: x.dtype }));
};

const gelu: RecorderKernel = (graph, { inputs: { x } }) => graph.emit('Gelu', [x], x.shape, x.dtype);

const quickGelu: RecorderKernel = (graph, { inputs: { x } }) =>
  graph.emit('com.microsoft/QuickGelu', [x], x.shape, x.dtype, { alpha: new Float(1.702) });

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
