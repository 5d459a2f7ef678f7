import { type TensorInfo, util } from '@tensorflow/tfjs-core';
import type { RecorderKernel } from './register.js';

const gather: RecorderKernel = (graph, { inputs: { x, indices }, attrs }) => {
  if (attrs.batchDims) throw new Error('GatherV2 with batchDims has no ONNX form here');
  const [axis] = util.parseAxisParam(attrs.axis as number, x.shape);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return graph.emit('Gather', [x, indices], shape, x.dtype, { axis });
};

/** Sums rows of x that have the same segment: ScatterND adds them into zeros. */
const unsortedSegmentSum: RecorderKernel = (graph, { inputs: { x, segmentIds }, attrs }) => {
  if (segmentIds.shape.length !== 1)
    throw new Error('UnsortedSegmentSum is recorded for one axis of segments');
  const shape = [attrs.numSegments as number, ...x.shape.slice(1)];
  const zero = graph.constant('float32', [1], Float32Array.of(0));
  const zeros = graph.emit('Expand', [zero, graph.shapeVector(shape)], shape, x.dtype);
  // ScatterND takes int64 indices with a last axis that addresses the row.
  const wide: TensorInfo = graph.emit('Cast', [segmentIds], segmentIds.shape, 'int32', { to: 7 });
  const columnShape = [segmentIds.shape[0], 1];
  const column = graph.emit('Reshape', [wide, graph.reshapeVector(columnShape)], columnShape, 'int32');
  return graph.emit('ScatterND', [zeros, column, x], shape, x.dtype, { reduction: 'add' });
};

/** Kernels that address rows by number. */
export const indexing: Record<string, RecorderKernel> = {
  GatherV2: gather,
  UnsortedSegmentSum: unsortedSegmentSum,
};
