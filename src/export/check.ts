import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { attributeTypes, onnxSchema } from '../engine/onnx/protobuf.js';
import { UserError } from '../errors.js';
import { RangedFile } from '../io/readFile.js';
import { elementBytes } from '../io/tensor.js';
import { sizeOf } from '../shape.js';
import { leastIrVersions } from './encode.js';
import { elementTypeNumbers } from './onnxModel.js';

type AttributeKind = keyof typeof attributeTypes;

/** What the standard says of an operator, as far as exported graphs use it. */
interface Operator {
  /** the first opset that has it in this form */
  since: number;
  /** least and largest number of inputs */
  inputs: [number, number];
  attributes?: Record<string, AttributeKind>;
  /** the last opset that has it in this form */
  until?: number;
}

const plain = (inputs: number, since = 13): Operator => ({ since, inputs: [inputs, inputs] });

const operators: Readonly<Record<string, Operator>> = {
  Add: plain(2),
  AveragePool: { since: 11, inputs: [1, 1], attributes: { kernel_shape: 'ints', strides: 'ints' } },
  Cast: { since: 13, inputs: [1, 1], attributes: { to: 'int' } },
  Concat: { since: 13, inputs: [1, Infinity], attributes: { axis: 'int' } },
  Conv: {
    since: 11,
    inputs: [2, 3],
    attributes: { kernel_shape: 'ints', strides: 'ints', pads: 'ints' },
  },
  Div: plain(2),
  DynamicQuantizeLinear: plain(1, 11),
  Equal: plain(2),
  Erf: plain(1),
  Exp: plain(1),
  Expand: plain(2),
  Gather: { since: 13, inputs: [2, 2], attributes: { axis: 'int' } },
  Gelu: plain(1, 20),
  Gemm: { since: 13, inputs: [2, 3], attributes: { transA: 'int', transB: 'int', alpha: 'float' } },
  Identity: plain(1),
  LayerNormalization: { since: 17, inputs: [2, 3], attributes: { axis: 'int', epsilon: 'float' } },
  MatMul: plain(2),
  MatMulInteger: { since: 10, inputs: [2, 4] },
  Mul: plain(2),
  Not: plain(1),
  Pow: plain(2),
  ReduceMean: { since: 13, until: 17, inputs: [1, 1], attributes: { axes: 'ints', keepdims: 'int' } },
  ReduceSum: { since: 13, inputs: [1, 2], attributes: { keepdims: 'int' } },
  Relu: plain(1),
  Reshape: { since: 13, inputs: [2, 2], attributes: { allowzero: 'int' } },
  Shape: { since: 13, inputs: [1, 1], attributes: { start: 'int', end: 'int' } },
  Sigmoid: plain(1),
  Slice: { since: 13, inputs: [3, 5] },
  Softmax: { since: 13, inputs: [1, 1], attributes: { axis: 'int' } },
  Split: { since: 13, inputs: [1, 2], attributes: { axis: 'int' } },
  Sqrt: plain(1),
  Sub: plain(2),
  Transpose: { since: 13, inputs: [1, 1], attributes: { perm: 'ints' } },
};

/** Attributes that came later than their operator. */
const attributeSince: Readonly<Record<string, number>> = {
  'Reshape.allowzero': 14,
  'Shape.start': 15,
  'Shape.end': 15,
};

/** An ONNX file's messages, decoded; protobufjs gives empty lists and zeros for what is not there. */
interface ModelMessage {
  irVersion: number;
  opsetImport: { domain: string; version: number }[];
  graph: {
    node: NodeMessage[];
    initializer: TensorMessage[];
    input: ValueMessage[];
    output: ValueMessage[];
  } | null;
}
interface NodeMessage {
  opType: string;
  domain: string;
  name: string;
  input: string[];
  output: string[];
  attribute: { name: string; type: number }[];
}
interface TensorMessage {
  name: string;
  dims: number[];
  dataType: number;
  rawData: Uint8Array;
  externalData: { key: string; value: string }[];
  dataLocation: number;
}
interface ValueMessage {
  name: string;
  type: { tensorType: { elemType: number; shape: { dim: unknown[] } | null } | null } | null;
}

/**
 * Checks an ONNX file by the rules of the format, as far as they concern the graphs written here: opset and IR version,
 * names that are given once, inputs that are there before they are used, operators of the standard with the
 * attributes and number of inputs that they take, tensors that fill their shapes, and external data within its file.
 *
 * @throws UserError naming the file and the rule that it breaks
 */
export function checkOnnxFile(path: string): void {
  const fail = (what: string) => new UserError(`${path} is no valid ONNX file: ${what}`);
  const file = new RangedFile(path);
  const type = onnxSchema.lookupType('ModelProto');
  const model = type.toObject(type.decode(file.read(0, file.size)), {
    defaults: true,
    arrays: true,
    longs: Number,
  }) as ModelMessage;
  const { graph } = model;
  if (graph === null) throw fail('it has no graph');
  const opset = checkVersions(model, fail);
  const known = new Set<string>();
  const define = (name: string, what: string) => {
    if (name === '') throw fail(`${what} has no name`);
    if (known.has(name)) throw fail(`${what} '${name}' has a name that is taken`);
    known.add(name);
  };
  for (const value of graph.input) {
    define(value.name, 'input');
    checkValue(value, fail);
  }
  for (const tensor of graph.initializer) {
    define(tensor.name, 'initializer');
    checkTensor(tensor, dirname(path), fail);
  }
  const nodeNames = new Set<string>();
  for (const node of graph.node) {
    checkNode(node, opset, fail);
    if (nodeNames.has(node.name)) throw fail(`two nodes are named '${node.name}'`);
    nodeNames.add(node.name);
    for (const input of node.input) {
      if (input !== '' && !known.has(input))
        throw fail(`node '${node.name}' reads '${input}' before it is there`);
    }
    for (const output of node.output) if (output !== '') define(output, `output of node '${node.name}'`);
  }
  if (graph.output.length === 0) throw fail('it has no output');
  for (const value of graph.output) {
    if (!known.has(value.name)) throw fail(`nothing computes the output '${value.name}'`);
    checkValue(value, fail);
  }
}

type Fail = (what: string) => UserError;

function checkVersions({ irVersion, opsetImport }: ModelMessage, fail: Fail): number {
  if (opsetImport.length !== 1 || opsetImport[0].domain !== '') {
    throw fail('it must import the standard operators, and nothing else');
  }
  const [{ version }] = opsetImport;
  const least = leastIrVersions[version];
  if (least === undefined)
    throw fail(`opset ${version} is none of ${Object.keys(leastIrVersions).join(', ')}`);
  if (irVersion < least) throw fail(`opset ${version} needs IR version ${least}, it says ${irVersion}`);
  return version;
}

function checkNode(node: NodeMessage, opset: number, fail: Fail): void {
  const { opType, name, domain, input, attribute } = node;
  const operator = Object.hasOwn(operators, opType) ? operators[opType] : undefined;
  if (domain !== '' || operator === undefined) {
    throw fail(`node '${name}' is a ${[domain, opType].filter(Boolean).join('.')}, which is not known here`);
  }
  const { since, until = Infinity, inputs, attributes = {} } = operator;
  if (opset < since || opset > until)
    throw fail(`node '${name}': opset ${opset} has no ${opType} of this form`);
  const [least, most] = inputs;
  if (input.length < least || input.length > most) {
    throw fail(`node '${name}' (${opType}) has ${input.length} inputs, expected ${least} to ${most}`);
  }
  const seen = new Set<string>();
  for (const { name: key, type } of attribute) {
    if (seen.has(key)) throw fail(`node '${name}' has the attribute '${key}' twice`);
    seen.add(key);
    const kind = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
    if (kind === undefined || opset < (attributeSince[`${opType}.${key}`] ?? 0)) {
      throw fail(`node '${name}': ${opType} has no attribute '${key}' in opset ${opset}`);
    }
    if (attributeTypes[kind] !== type)
      throw fail(`node '${name}': attribute '${key}' must be of kind ${kind}`);
  }
}

function checkValue({ name, type }: ValueMessage, fail: Fail): void {
  const tensor = type?.tensorType;
  if (tensor == null || !isElementType(tensor.elemType)) throw fail(`'${name}' has no element type`);
  if (tensor?.shape == null) throw fail(`'${name}' has no shape`);
}

function checkTensor(tensor: TensorMessage, folder: string, fail: Fail): void {
  const { name, dims, dataType, rawData, externalData, dataLocation } = tensor;
  const dtype = elementTypeOf(dataType);
  if (dtype === undefined) throw fail(`initializer '${name}' has the unknown element type ${dataType}`);
  const expected = sizeOf(dims) * elementBytes[dtype];
  if (dataLocation === 0) {
    if (externalData.length > 0)
      throw fail(`initializer '${name}' says where data lies, but not that it is outside`);
    if (rawData.length !== expected) {
      throw fail(`initializer '${name}' has ${rawData.length} bytes, its shape [${dims}] needs ${expected}`);
    }
    return;
  }
  const entries = new Map(externalData.map(({ key, value }) => [key, value]));
  const location = entries.get('location') ?? '';
  if (location === '' || /[\\/]/.test(location) || location === '..') {
    throw fail(`initializer '${name}': its data must lie in a file of the same folder, not '${location}'`);
  }
  const size = statSync(join(folder, location), { throwIfNoEntry: false })?.size;
  if (size === undefined) throw fail(`${location}, with the data of '${name}', does not exist`);
  const [offset, length] = [Number(entries.get('offset') ?? 0), Number(entries.get('length') ?? size)];
  if (length !== expected)
    throw fail(`initializer '${name}' has ${length} bytes, its shape [${dims}] needs ${expected}`);
  if (!(offset >= 0 && offset + length <= size)) {
    throw fail(
      `initializer '${name}' lies at ${offset} to ${offset + length}, but ${location} has ${size} bytes`,
    );
  }
}

function elementTypeOf(number: number): keyof typeof elementTypeNumbers | undefined {
  const entry = Object.entries(elementTypeNumbers).find(([, value]) => value === number);
  return entry?.[0] as keyof typeof elementTypeNumbers | undefined;
}

function isElementType(number: number): boolean {
  return elementTypeOf(number) !== undefined;
}
