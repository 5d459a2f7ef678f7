import { broadcast_util, type TensorInfo } from '@tensorflow/tfjs-core';
import { Float, type Graph } from '../graph.js';
import type { RecorderKernel } from './kernel.js';

/**
 * alpha · a · b over the last two axes, either transposed. Two-dimensional products become Gemm, batched ones
 * FusedMatMul, which take the transposes as flags instead of moving memory.
 */
export function product(
  graph: Graph,
  a: TensorInfo,
  b: TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  alpha = 1,
): TensorInfo {
  const rank = a.shape.length;
  const batch = broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const rows = a.shape[transposeA ? rank - 1 : rank - 2];
  const columns = b.shape[b.shape.length - (transposeB ? 2 : 1)];
  const shape = [...batch, rows, columns];
  const flags = { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0, alpha: new Float(alpha) };
  if (rank === 2 && b.shape.length === 2) return graph.emit('Gemm', [a, b], shape, a.dtype, flags);
  return graph.emit('com.microsoft/FusedMatMul', [a, b], shape, a.dtype, flags);
}

const batchMatMul: RecorderKernel = (graph, { inputs: { a, b }, attrs }) =>
  product(graph, a, b, attrs.transposeA === true, attrs.transposeB === true);

/** Matrix products. */
export const matrix: Record<string, RecorderKernel> = {
  BatchMatMul: batchMatMul,
};
