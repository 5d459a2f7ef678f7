import { type Node, neededNodes } from '../engine/onnx/graph.js';
import type { Dtype, LazyTensor } from '../io/tensor.js';

/** An input or output of a model; a string in the shape is a size that is known when it runs. */
export interface Port {
  name: string;
  shape: readonly (number | string)[];
  dtype: Dtype;
}

/** A graph that is to become an ONNX file. Its weights and constants are read when they are written. */
export interface OnnxModel {
  /** version of the standard operators, the only ones it uses */
  opset: number;
  inputs: readonly Port[];
  outputs: readonly Port[];
  /** each one after those that compute its inputs */
  nodes: readonly Node[];
  initializers: ReadonlyMap<string, LazyTensor>;
}

/** Numbers of element types in onnx.proto. */
export const elementTypeNumbers = {
  F32: 1,
  U8: 2,
  I8: 3,
  I32: 6,
  I64: 7,
  BOOL: 9,
  F16: 10,
} as const satisfies Partial<Record<Dtype, number>>;

/** The number of an element type. @throws Error for one that no exported graph has */
export function elementTypeNumber(dtype: Dtype): number {
  const number = (elementTypeNumbers as Partial<Record<Dtype, number>>)[dtype];
  if (number === undefined) throw new Error(`${dtype} tensors are not exported`);
  return number;
}

/** A node of the standard operators. */
export function node(
  op: string,
  inputs: string[],
  outputs: string[],
  attributes: Node['attributes'] = {},
): Node {
  return { op, domain: '', inputs, outputs, attributes };
}

/** A Cast of one value. */
export function castNode(from: string, to: string, dtype: Dtype): Node {
  return node('Cast', [from], [to], { to: elementTypeNumber(dtype) });
}

/** The nodes that some output depends on, and the initializers that they read. */
export function pruned(model: OnnxModel): OnnxModel {
  const outputs = model.outputs.map(({ name }) => name);
  const { nodes, values } = neededNodes(model.nodes, outputs);
  const initializers = new Map([...model.initializers].filter(([name]) => values.has(name)));
  return { ...model, nodes, initializers };
}
