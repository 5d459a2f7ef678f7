import type { Graph, Node } from '../engine/onnx/graph.js';
import { ALIASED, SHIFT } from '../engine/onnx/kernels/matrix.js';
import { bytesOf } from '../io/readFile.js';
import { type LazyTensor, type LazyTensors, readValues } from '../io/tensor.js';
import { QUICK_GELU_ALPHA } from '../nn/fused.js';
import { sizeOf } from '../shape.js';

/** The axis of a weight that runs over the hidden values of an MLP, if it has one. */
function hiddenAxis(name: string): number | undefined {
  if (/\.(mlp\.c_fc|intermediate\.dense)\.(weight|bias)$/.test(name)) return 0;
  if (/\.(mlp\.c_proj|\d+\.output\.dense)\.weight$/.test(name)) return 1;
  return undefined;
}

/**
 * The shape of a weight in an exported file. Where the rows of an MLP's hidden values would drive each other out of the
 * cache, it has a few hidden values more, which are always 0 and multiplied by 0: the product after them was seen to
 * take a fifth less time so.
 */
export function exportedShape(name: string, shape: readonly number[]): readonly number[] {
  const axis = hiddenAxis(name);
  if (axis === undefined || shape[axis] % ALIASED !== 0) return shape;
  return shape.map((size, each) => (each === axis ? size + SHIFT : size));
}

/**
 * What the weights of a MLP with QuickGELU, x·sigmoid(αx), are multiplied by: with αx in place of x it is y·sigmoid(y),
 * divided by α, which ONNX Runtime computes in half the time.
 */
function exportedFactor(name: string): number {
  if (/\.mlp\.c_fc\.(weight|bias)$/.test(name)) return QUICK_GELU_ALPHA;
  return name.endsWith('.mlp.c_proj.weight') ? 1 / QUICK_GELU_ALPHA : 1;
}

/** Weights as exported files hold them, for graphs that went through `withUnitQuickGelu`. */
export function exportedWeights(weights: LazyTensors): LazyTensors {
  return new Map([...weights].map(([name, tensor]) => [name, exportedWeight(name, tensor)]));
}

function exportedWeight(name: string, tensor: LazyTensor): LazyTensor {
  const shape = exportedShape(name, tensor.shape);
  const factor = exportedFactor(name);
  if (shape === tensor.shape && factor === 1) return tensor;
  return {
    shape,
    dtype: 'F32',
    read: () => {
      const values = readValues(tensor) as Float32Array;
      const result = new Float32Array(sizeOf(shape));
      const [rows] = tensor.shape;
      const [from, to] = [values.length / rows, result.length / shape[0]];
      for (let row = 0; row < rows; row++) {
        for (let i = 0; i < from; i++) result[row * to + i] = factor * values[row * from + i];
      }
      return bytesOf(result);
    },
  };
}

/** Turns x·sigmoid(αx) into x·sigmoid(x) wherever a graph has it. */
export function withUnitQuickGelu(graph: Graph): Graph {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node])));
  for (const node of graph.nodes) {
    if (node.op !== 'Sigmoid') continue;
    const scaling = producers.get(node.inputs[0]);
    if (scaling !== undefined && isScaling(graph, scaling)) node.inputs[0] = scaling.inputs[0];
  }
  graph.prune();
  return graph;
}

/** Whether a node multiplies by α. */
function isScaling(graph: Graph, { op, inputs }: Node): boolean {
  return op === 'Mul' && graph.constants.get(inputs[1])?.data[0] === Math.fround(QUICK_GELU_ALPHA);
}
