import { type TensorInfo, util } from '@tensorflow/tfjs-core';
import type { RecorderKernel } from './kernel.js';

function reducedShape(x: TensorInfo, axes: number[], keepDims: boolean): number[] {
  return keepDims
    ? x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size))
    : x.shape.filter((_, axis) => !axes.includes(axis));
}

/** @param axisName what TensorFlow.js calls the attribute with the axes */
const reduction =
  (op: string, axisName: 'axis' | 'reductionIndices'): RecorderKernel =>
  (graph, { inputs: { x }, attrs }) => {
    const axes = util.parseAxisParam(attrs[axisName] as number | number[], x.shape);
    const keepDims = attrs.keepDims === true;
    return graph.emit(op, [x, graph.integers(...axes)], reducedShape(x, axes, keepDims), x.dtype, {
      keepdims: keepDims ? 1 : 0,
    });
  };

const argMax: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const [axis] = util.parseAxisParam(attrs.axis as number, x.shape);
  const shape = reducedShape(x, [axis], false);
  // ONNX counts in int64, TensorFlow.js in int32.
  const [indices] = graph.append('ArgMax', [x], 1, { axis, keepdims: 0 });
  return graph.emit('Cast', [indices], shape, 'int32', { to: 6 });
};

const softmax: RecorderKernel = (graph, { inputs: { logits }, attrs }) => {
  const [axis] = util.parseAxisParam(attrs.dim as number, logits.shape);
  return graph.emit('Softmax', [logits], logits.shape, logits.dtype, { axis });
};

/** Kernels that sum, search or normalise along axes. */
export const reductions: Record<string, RecorderKernel> = {
  Sum: reduction('ReduceSum', 'axis'),
  Mean: reduction('ReduceMean', 'axis'),
  Max: reduction('ReduceMax', 'reductionIndices'),
  ArgMax: argMax,
  Softmax: softmax,
};
