import type { TensorInfo, DataType as TfDataType } from '@tensorflow/tfjs-core';
import type { DataType, FeedType, HostArray, TensorSpec } from '../engine.js';
import type { Dimensions } from './dimensions.js';

/** A float attribute; plain numbers are integers. */
export class Float {
  constructor(readonly value: number) {}
}
export type Attribute = number | readonly number[] | string | Float;

/** ONNX element types that recorded graphs use; int64 for shapes and indices, float16 for inputs alone. */
export type ElementType = FeedType | 'int64';

export interface Node {
  op: string;
  domain: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, Attribute>;
}

export interface Constant {
  shape: readonly number[];
  type: ElementType;
  data: HostArray | BigInt64Array;
}

/** ONNX's number for float32. */
const FLOAT = 1;

/** The operators that a graph may use. */
export interface OperatorSet {
  /** version of the standard operators */
  opset: number;
  /** whether those of com.microsoft, which only ONNX Runtime has, may be used, too */
  microsoft: boolean;
}

/** What ONNX Runtime computes best: opset 20 has Gelu and LayerNormalization. */
export const runtimeOperators: OperatorSet = { opset: 20, microsoft: true };

const MICROSOFT = 'com.microsoft';

/** The ONNX graph under construction. Recorder kernels append nodes; names of values are its edges. */
export class Graph {
  readonly inputs = new Map<string, TensorSpec>();
  readonly outputs = new Map<string, { value: string; shape: (number | string)[]; dtype: DataType }>();
  readonly constants = new Map<string, Constant>();
  nodes: Node[] = [];
  private readonly shapeVectors = new Map<string, string>();
  private readonly constantNames = new Map<string, string>();
  private count = 0;

  constructor(
    readonly dimensions: Dimensions,
    readonly operators: OperatorSet = runtimeOperators,
  ) {}

  /** Declares an input and returns it as a tensor with stand-in numbers for symbolic dimensions, halves widened. */
  input(name: string, spec: TensorSpec): TensorInfo {
    this.inputs.set(name, spec);
    const shape = this.dimensions.standIn(spec.shape);
    const { dtype } = spec;
    if (dtype !== 'float16') return { dataId: { name }, shape, dtype };
    return this.emit('Cast', [name], shape, 'float32', { to: FLOAT });
  }

  output(name: string, tensor: TensorInfo): void {
    if (this.inputs.has(name)) throw new Error(`'${name}' names an input and an output`);
    const shape = tensor.shape.map((size) => {
      const { coefficient, symbols } = this.dimensions.express(size);
      if (symbols.length === 0) return size;
      return [...(coefficient === 1 ? [] : [coefficient]), ...symbols].join('*');
    });
    this.outputs.set(name, { value: nameOf(tensor), shape, dtype: tensor.dtype as DataType });
  }

  /** Appends a node with one output of the given shape and returns that output. */
  emit(
    op: string,
    inputs: readonly (TensorInfo | string)[],
    shape: readonly number[],
    dtype: TfDataType,
    attributes: Record<string, Attribute> = {},
  ): TensorInfo {
    const [name] = this.append(op, inputs, 1, attributes);
    return { dataId: { name }, shape: [...shape], dtype };
  }

  /** Appends a node and returns the names of its outputs. `com.microsoft/Gelu` names the operator's domain. */
  append(
    op: string,
    inputs: readonly (TensorInfo | string)[],
    outputCount: number,
    attributes: Record<string, Attribute> = {},
  ): string[] {
    const inMicrosoft = op.startsWith(`${MICROSOFT}/`);
    const type = inMicrosoft ? op.slice(MICROSOFT.length + 1) : op;
    const outputs = Array.from({ length: outputCount }, () => `${type}_${this.count++}`);
    this.nodes.push({
      op: type,
      domain: inMicrosoft ? MICROSOFT : '',
      inputs: inputs.map((input) => (typeof input === 'string' ? input : nameOf(input))),
      outputs,
      attributes,
    });
    return outputs;
  }

  /** A constant's name; equal small constants share one. */
  constant(type: ElementType, shape: readonly number[], data: HostArray | BigInt64Array): string {
    const key = data.length <= 16 ? `${type}[${shape}]${data}` : undefined;
    const known = key === undefined ? undefined : this.constantNames.get(key);
    if (known !== undefined) return known;
    const name = `constant_${this.count++}`;
    this.constants.set(name, { type, shape: [...shape], data });
    if (key !== undefined) this.constantNames.set(key, name);
    return name;
  }

  /** A constant without axes. */
  scalar(value: number, dtype: TfDataType): string {
    if (dtype === 'float32') return this.constant(dtype, [], Float32Array.of(value));
    if (dtype === 'int32') return this.constant(dtype, [], Int32Array.of(value));
    if (dtype === 'bool') return this.constant(dtype, [], Uint8Array.of(value));
    throw new Error(`cannot record a ${dtype} tensor`);
  }

  /** A constant vector of int64, as operators take axes, starts and sizes. */
  integers(...values: number[]): string {
    return this.constant('int64', [values.length], BigInt64Array.from(values.map(BigInt)));
  }

  /** A shape as an int64 vector, computed from the inputs' shapes where it is symbolic. */
  shapeVector(shape: readonly number[]): string {
    const key = shape.join();
    let vector = this.shapeVectors.get(key);
    if (vector === undefined) {
      const parts = shape.map((size) => this.size(size));
      vector = shape.every((size) => this.dimensions.isFixed(size))
        ? this.integers(...shape)
        : parts.length === 1
          ? parts[0]
          : this.append('Concat', parts, 1, { axis: 0 })[0];
      this.shapeVectors.set(key, vector);
    }
    return vector;
  }

  /** As `shapeVector`, for Reshape, where one unknown entry may stay open. */
  reshapeVector(shape: readonly number[]): string {
    const open = shape.filter((size) => !this.dimensions.isFixed(size));
    if (open.length !== 1 || shape.includes(0)) return this.shapeVector(shape);
    return this.integers(...shape.map((size) => (size === open[0] ? -1 : size)));
  }

  /** One shape entry as an int64 vector of length 1. */
  private size(size: number): string {
    const { coefficient, symbols } = this.dimensions.express(size);
    if (symbols.length === 0) return this.integers(size);
    const factors = symbols.map((symbol) => this.symbol(symbol));
    if (coefficient !== 1) factors.push(this.integers(coefficient));
    return factors.reduce((product, factor) => this.append('Mul', [product, factor], 1)[0]);
  }

  private symbol(symbol: string): string {
    const key = `symbol ${symbol}`;
    let value = this.shapeVectors.get(key);
    if (value === undefined) {
      const [input, spec] = [...this.inputs].find(([, { shape }]) => shape.includes(symbol))!;
      const axis = spec.shape.indexOf(symbol);
      if (this.operators.opset >= 15) {
        [value] = this.append('Shape', [input], 1, { start: axis, end: axis + 1 });
      } else {
        const [all] = this.append('Shape', [input], 1);
        [value] = this.append('Slice', [all, this.integers(axis), this.integers(axis + 1)], 1);
      }
      this.shapeVectors.set(key, value);
    }
    return value;
  }

  /** Drops what no output needs: the tape also records what turned out to be unused. */
  prune(): void {
    const outputs = [...this.outputs.values()].map(({ value }) => value);
    const { nodes, values } = neededNodes(this.nodes, outputs);
    this.nodes = this.lastResultsFirst(nodes);
    for (const name of this.constants.keys()) if (!values.has(name)) this.constants.delete(name);
  }

  /**
   * Moves the nodes that only outputs read to the end, the first of them last. ONNX Runtime finishes results from the
   * last node of that kind to the first. In recorded order it would begin with the gradient of the first layer, thus
   * run the whole backward pass, and keep what all other gradients need until then.
   */
  private lastResultsFirst(nodes: Node[]): Node[] {
    const values = new Set([...this.outputs.values()].map(({ value }) => value));
    // Each output has an Identity of its own, which ONNX Runtime drops.
    const named = new Set(nodes.filter(({ outputs }) => outputs.some((output) => values.has(output))));
    const inner = nodes.filter((node) => !named.has(node));
    const read = new Set(inner.flatMap(({ inputs }) => inputs));
    const isFinal = ({ outputs }: Node) => !outputs.some((output) => read.has(output));
    const final = inner.filter(isFinal);
    const rest = inner.filter((node) => !isFinal(node));
    return [...rest, ...final.reverse(), ...named];
  }
}

/** The nodes that some values depend on, in their order, and the names of all values that are read. */
export function neededNodes(
  nodes: readonly Node[],
  outputs: Iterable<string>,
): { nodes: Node[]; values: ReadonlySet<string> } {
  const values = new Set(outputs);
  const needed = nodes.toReversed().filter((node) => {
    const isNeeded = node.outputs.some((output) => values.has(output));
    if (isNeeded) for (const input of node.inputs) values.add(input);
    return isNeeded;
  });
  return { nodes: needed.reverse(), values };
}

/** The name of the value that a recorded tensor stands for. */
export function nameOf(tensor: TensorInfo): string {
  return (tensor.dataId as { name: string }).name;
}
