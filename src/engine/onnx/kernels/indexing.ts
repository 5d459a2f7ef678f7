import { util } from '@tensorflow/tfjs-core';
import type { RecorderKernel } from './kernel.js';

const gather: RecorderKernel = (graph, { inputs: { x, indices }, attrs }) => {
  if (attrs.batchDims) throw new Error('GatherV2 with batchDims has no ONNX form here');
  const [axis] = util.parseAxisParam(attrs.axis as number, x.shape);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return graph.emit('Gather', [x, indices], shape, x.dtype, { axis });
};

/**
 * Sums rows of x that have the same segment. ScatterElements adds them one after the other; ScatterND, which takes
 * whole rows, adds in parallel without locks and loses some of those that meet in one row.
 */
const unsortedSegmentSum: RecorderKernel = (graph, { inputs: { x, segmentIds }, attrs }) => {
  if (segmentIds.shape.length !== 1)
    throw new Error('UnsortedSegmentSum is recorded for one axis of segments');
  const shape = [attrs.numSegments as number, ...x.shape.slice(1)];
  const zeros = graph.emit('Expand', [graph.scalar(0, x.dtype), graph.shapeVector(shape)], shape, x.dtype);
  // Every value of x is told its row.
  const columnShape = x.shape.map((size, axis) => (axis === 0 ? size : 1));
  const column = graph.emit('Reshape', [segmentIds, graph.reshapeVector(columnShape)], columnShape, 'int32');
  const rows = graph.emit('Expand', [column, graph.shapeVector(x.shape)], x.shape, 'int32');
  return graph.emit('ScatterElements', [zeros, rows, x], shape, x.dtype, { axis: 0, reduction: 'add' });
};

/** Kernels that address rows by number. */
export const indexing: Record<string, RecorderKernel> = {
  GatherV2: gather,
  UnsortedSegmentSum: unsortedSegmentSum,
};
