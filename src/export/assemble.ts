import * as ort from 'onnxruntime-node';
import type { Constant, Graph, Node } from '../engine/onnx/graph.js';
import { sessionOptions } from '../engine/onnx/sessionOptions.js';
import { bytesOf } from '../io/readFile.js';
import type { Dtype, LazyTensor, LazyTensors } from '../io/tensor.js';
import { tensorOf } from '../io/tensor.js';
import { encodeOnnx } from './encode.js';
import { castNode, type OnnxModel, type Port, pruned } from './onnxModel.js';

/** What the recorder calls element types, in the names of files. */
const dtypes: Record<Constant['type'], Dtype> = {
  float32: 'F32',
  float16: 'F16',
  int32: 'I32',
  int64: 'I64',
  bool: 'BOOL',
};

/**
 * A recorded graph with its weights: they become initializers, and what depends on weights alone (slices of a matrix,
 * batch norms that go into their convolution) is computed now. Inputs of whole numbers become int64, as everybody
 * feeds them.
 *
 * @param weights values of the graph's inputs that are no inputs of the model, by name
 */
export async function assemble(graph: Graph, weights: LazyTensors): Promise<OnnxModel> {
  const inputs: Port[] = [];
  const casts: Node[] = [];
  const castName = (name: string) => `${name}_int32`;
  for (const [name, { shape, dtype }] of graph.inputs) {
    if (weights.has(name)) continue;
    if (dtype === 'int32') casts.push(castNode(name, castName(name), 'I32'));
    inputs.push({ name, shape, dtype: dtype === 'int32' ? 'I64' : dtypes[dtype] });
  }
  const cast = new Set(casts.map(({ inputs: [name] }) => name));
  const rename = outputNames(graph);
  const nodes = graph.nodes
    .filter(({ op, outputs }) => op !== 'Identity' || !rename.has(outputs[0]))
    .map((node) => ({
      ...node,
      inputs: node.inputs.map((name) =>
        cast.has(name) && node.op !== 'Shape' ? castName(name) : (rename.get(name) ?? name),
      ),
      outputs: node.outputs.map((name) => rename.get(name) ?? name),
    }));
  const constants = [...graph.constants].map(([name, { shape, type, data }]): [string, LazyTensor] => [
    name,
    { shape, dtype: dtypes[type], read: () => bytesOf(data) },
  ]);
  const used = [...weights].filter(([name]) => graph.inputs.has(name));
  return withoutUnusedStatistics(
    await folded({
      opset: graph.operators.opset,
      inputs,
      outputs: [...graph.outputs].map(([name, { shape, dtype }]) => ({ name, shape, dtype: dtypes[dtype] })),
      nodes: [...casts, ...nodes],
      initializers: new Map([...used, ...constants]),
    }),
  );
}

/** New names of the values that outputs are copies of: those of the outputs. The copies themselves are left out. */
function outputNames(graph: Graph): Map<string, string> {
  const names = new Map<string, string>();
  for (const [name, { value }] of graph.outputs) {
    const copy = graph.nodes.find(({ outputs }) => outputs[0] === value)!;
    const [source] = copy.inputs;
    const isComputed = graph.nodes.some(({ outputs }) => outputs.includes(source));
    // What is an output twice, or comes in from outside, stays a copy.
    if (copy.op === 'Identity' && isComputed && !names.has(source)) {
      names.set(source, name);
      names.set(value, name);
    }
  }
  return names;
}

/** Computes what depends on initializers alone. */
async function folded(model: OnnxModel): Promise<OnnxModel> {
  const producers = new Map<string, Node>();
  const known = new Set(model.initializers.keys());
  const rest: Node[] = [];
  for (const node of model.nodes) {
    if (!node.inputs.every((name) => name === '' || known.has(name))) {
      rest.push(node);
      continue;
    }
    for (const output of node.outputs) {
      known.add(output);
      producers.set(output, node);
    }
  }
  const initializers = new Map(model.initializers);
  const names = new Map<string, string>();
  const addValue = async (output: string) => {
    const value = await compute({ ...model, nodes: [...new Set(producers.values())] }, output);
    const name = uniqueName(describe(output, producers, model.initializers), initializers);
    initializers.set(name, value);
    names.set(output, name);
  };
  for (const node of rest) {
    for (const input of node.inputs) {
      if (producers.has(input) && !names.has(input)) await addValue(input);
    }
  }
  for (const { name } of model.outputs) {
    if (producers.has(name)) throw new Error(`output '${name}' depends on no input`);
  }
  const nodes = rest.map((node) => ({
    ...node,
    inputs: node.inputs.map((name) => names.get(name) ?? name),
  }));
  return pruned({ ...model, nodes, initializers });
}

/** One value of a model that depends on no input, as float32. */
async function compute(model: OnnxModel, output: string): Promise<LazyTensor> {
  const needed = pruned({ ...model, inputs: [], outputs: [{ name: output, shape: [], dtype: 'F32' }] });
  const bytes = Buffer.concat([...encodeOnnx(needed, { withOutputShapes: false })]);
  const session = await ort.InferenceSession.create(bytes, sessionOptions('cpu'));
  try {
    const { data, dims } = (await session.run({}))[output];
    return tensorOf([...dims], Float32Array.from(data as Float32Array));
  } finally {
    await session.release();
  }
}

/** Says what a computed value is: the weight that it was made of, and the last operation. */
function describe(
  output: string,
  producers: ReadonlyMap<string, Node>,
  initializers: ReadonlyMap<string, LazyTensor>,
): string {
  const weightOf = (name: string): string | undefined => {
    const producer = producers.get(name);
    if (producer === undefined) return initializers.has(name) && name.includes('.') ? name : undefined;
    for (const input of producer.inputs) {
      const weight = weightOf(input);
      if (weight !== undefined) return weight;
    }
    return undefined;
  };
  return `${weightOf(output) ?? 'constant'}.${producers.get(output)!.op.toLowerCase()}`;
}

function uniqueName(name: string, taken: ReadonlyMap<string, unknown>): string {
  let unique = name;
  for (let i = 2; taken.has(unique); i++) unique = `${name}_${i}`;
  return unique;
}

/** Mean and deviation that a layer norm also returns, for the backward pass alone. */
function withoutUnusedStatistics(model: OnnxModel): OnnxModel {
  const nodes = model.nodes.map((node) =>
    node.op === 'LayerNormalization' ? { ...node, outputs: node.outputs.slice(0, 1) } : node,
  );
  return { ...model, nodes };
}
