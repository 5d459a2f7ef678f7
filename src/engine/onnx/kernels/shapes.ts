import { backend_util, type DataType, slice_util, type TensorInfo, util } from '@tensorflow/tfjs-core';
import type { Graph } from '../graph.js';
import type { RecorderKernel } from './kernel.js';

const reshape: RecorderKernel = (graph, { inputs: { x }, attrs }) =>
  reshapeTo(graph, x, util.inferFromImplicitShape(attrs.shape as number[], util.sizeFromShape(x.shape)));

/** Gives a tensor another shape; the same tensor where it already has it. */
export function reshapeTo(graph: Graph, x: TensorInfo, shape: number[]): TensorInfo {
  if (shape.join() === x.shape.join()) return x;
  // A zero is a length, not ONNX's mark for one that is copied (which it always is before opset 14).
  const zeros: Record<string, number> = graph.operators.opset >= 14 ? { allowzero: 1 } : {};
  return graph.emit('Reshape', [x, graph.reshapeVector(shape)], shape, x.dtype, zeros);
}

const expandDims: RecorderKernel = (graph, { inputs: { input: x }, attrs }) => {
  const dim = attrs.dim as number;
  const shape = [...x.shape];
  shape.splice(dim < 0 ? dim + shape.length + 1 : dim, 0, 1);
  return reshape(graph, { inputs: { x }, attrs: { shape } });
};

const transpose: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const perm = attrs.perm as number[];
  const shape = perm.map((axis) => x.shape[axis]);
  return graph.emit('Transpose', [x], shape, x.dtype, { perm });
};

const slice: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const [begin, size] = slice_util.parseSliceParams(
    x as Parameters<typeof slice_util.parseSliceParams>[0],
    attrs.begin as number[],
    attrs.size as number[],
  );
  // Whole axes are left out, so a symbolic one needs no computed end.
  const axes = begin
    .map((_, axis) => axis)
    .filter((axis) => begin[axis] !== 0 || size[axis] !== x.shape[axis]);
  if (axes.length === 0) return x;
  const ends = axes.map((axis) => begin[axis] + size[axis]);
  return graph.emit(
    'Slice',
    [x, graph.integers(...axes.map((axis) => begin[axis])), graph.shapeVector(ends), graph.integers(...axes)],
    size,
    x.dtype,
  );
};

const concat: RecorderKernel = (graph, { inputs, attrs }) => {
  const tensors = Object.values(inputs);
  const [axis] = util.parseAxisParam(attrs.axis as number, tensors[0].shape);
  const shape = backend_util.computeOutShape(
    tensors.map((tensor) => tensor.shape),
    axis,
  );
  return graph.emit('Concat', tensors, shape, tensors[0].dtype, { axis });
};

const split: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const [axis] = util.parseAxisParam(attrs.axis as number, x.shape);
  const sizes = backend_util.prepareSplitSize(
    x as Parameters<typeof backend_util.prepareSplitSize>[0],
    attrs.numOrSizeSplits as number | number[],
    axis,
  );
  const names = graph.append('Split', [x, graph.shapeVector(sizes)], sizes.length, { axis });
  return names.map((name, i): TensorInfo => {
    const shape = [...x.shape];
    shape[axis] = sizes[i];
    return { dataId: { name }, shape, dtype: x.dtype };
  });
};

const pad: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const paddings = attrs.paddings as [number, number][];
  if (paddings.every(([before, after]) => before === 0 && after === 0)) return x;
  const shape = x.shape.map((size, axis) => size + paddings[axis][0] + paddings[axis][1]);
  const pads = graph.shapeVector([
    ...paddings.map(([before]) => before),
    ...paddings.map(([, after]) => after),
  ]);
  return graph.emit('Pad', [x, pads, graph.scalar(attrs.constantValue as number, x.dtype)], shape, x.dtype);
};

const tile: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const reps = attrs.reps as number[];
  const shape = x.shape.map((size, axis) => size * reps[axis]);
  return graph.emit('Tile', [x, graph.shapeVector(reps)], shape, x.dtype);
};

const fill: RecorderKernel = (graph, { attrs }) => {
  const shape = attrs.shape as number[];
  const dtype = attrs.dtype as DataType;
  const value = graph.scalar(attrs.value as number, dtype);
  return graph.emit('Expand', [value, graph.shapeVector(shape)], shape, dtype);
};

/** Kernels that move values without changing them. */
export const shapes: Record<string, RecorderKernel> = {
  Reshape: reshape,
  ExpandDims: expandDims,
  Transpose: transpose,
  Slice: slice,
  Concat: concat,
  SplitV: split,
  PadV2: pad,
  Tile: tile,
  Fill: fill,
};
