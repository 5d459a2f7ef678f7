import { broadcast_util, type TensorInfo } from '@tensorflow/tfjs-core';
import { Float, type Graph } from '../graph.js';
import type { RecorderKernel } from './kernel.js';

/**
 * alpha · a · b over the last two axes, either transposed. Two-dimensional products become Gemm, batched ones
 * FusedMatMul, which take the transposes as flags instead of moving memory; with standard operators alone Transpose and
 * MatMul, where a is scaled beforehand: the product of unscaled queries and keys may be too large for half precision.
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
  if (rank === 2 && b.shape.length === 2) {
    if (!graph.operators.microsoft) return graph.emit('Gemm', [a, b], shape, a.dtype, flags);
    // Gemm is slow on a transposed first factor: for the weights' gradients of ViT-B-16 by more than moving it takes.
    const left = transposeA ? transposed(graph, a) : a;
    const factors = withoutAliasing(graph, left, b, transposeB);
    return graph.emit('Gemm', factors, shape, a.dtype, { ...flags, transA: 0 });
  }
  if (graph.operators.microsoft) {
    return graph.emit('com.microsoft/FusedMatMul', [a, b], shape, a.dtype, flags);
  }
  const left = transposeA ? transposed(graph, a) : a;
  const scaled =
    alpha === 1 ? left : graph.emit('Mul', [left, graph.scalar(alpha, a.dtype)], left.shape, a.dtype);
  return graph.emit('MatMul', [scaled, transposeB ? transposed(graph, b) : b], shape, a.dtype);
}

/** Values of a row that fill 4 KiB: rows of a multiple of it begin at the same set of the first-level cache. */
export const ALIASED = 1024;
/** Zeros that shift each row by a cache line. */
export const SHIFT = 16;

/**
 * The factors of a product a [rows, inner] · b with zeros after the inner dimension where rows of `a` would drive each other
 * out of the cache: products over the 3,072 of ViT-B-16's MLP were seen to take half as long again.
 */
export function withoutAliasing(
  graph: Graph,
  a: TensorInfo,
  b: TensorInfo,
  transposeB: boolean,
): [TensorInfo, TensorInfo] {
  const inner = a.shape[1];
  const { microsoft } = graph.operators;
  if (!microsoft || !graph.dimensions.isFixed(inner) || inner % ALIASED !== 0) return [a, b];
  const lengthen = (x: TensorInfo, axis: 0 | 1) => {
    const added = [0, 1].map((each) => (each === axis ? SHIFT : 0));
    const shape = x.shape.map((size, each) => size + added[each]);
    return graph.emit('Pad', [x, graph.integers(0, 0, ...added)], shape, x.dtype);
  };
  // b, often a weight, before a: ONNX Runtime goes through a graph backwards, and would lengthen the weights of all layers
  // before it multiplies the first, which for ViT-H-14 were 0.8 GB.
  const longer = lengthen(b, transposeB ? 1 : 0);
  return [lengthen(a, 1), longer];
}

/** The last two axes exchanged. */
function transposed(graph: Graph, x: TensorInfo): TensorInfo {
  const last = x.shape.length - 1;
  const perm = x.shape.map((_, axis) => (axis === last ? last - 1 : axis === last - 1 ? last : axis));
  const shape = perm.map((axis) => x.shape[axis]);
  return graph.emit('Transpose', [x], shape, x.dtype, { perm });
}

const batchMatMul: RecorderKernel = (graph, { inputs: { a, b }, attrs }) =>
  product(graph, a, b, attrs.transposeA === true, attrs.transposeB === true);

/** Matrix products. */
export const matrix: Record<string, RecorderKernel> = {
  BatchMatMul: batchMatMul,
};
