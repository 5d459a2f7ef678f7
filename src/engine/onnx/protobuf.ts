import protobuf from 'protobufjs/light.js';
import { type Attribute, type ElementType, Float, type Graph, type Node } from './graph.js';

const IR_VERSION = 9;

/** The messages of onnx.proto that a graph needs, with their field numbers. */
export const onnxSchema = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      fields: {
        irVersion: { id: 1, type: 'int64' },
        producerName: { id: 2, type: 'string' },
        producerVersion: { id: 3, type: 'string' },
        graph: { id: 7, type: 'GraphProto' },
        opsetImport: { id: 8, type: 'OperatorSetIdProto', rule: 'repeated' },
      },
    },
    OperatorSetIdProto: { fields: { domain: { id: 1, type: 'string' }, version: { id: 2, type: 'int64' } } },
    GraphProto: {
      fields: {
        node: { id: 1, type: 'NodeProto', rule: 'repeated' },
        name: { id: 2, type: 'string' },
        initializer: { id: 5, type: 'TensorProto', rule: 'repeated' },
        input: { id: 11, type: 'ValueInfoProto', rule: 'repeated' },
        output: { id: 12, type: 'ValueInfoProto', rule: 'repeated' },
      },
    },
    NodeProto: {
      fields: {
        input: { id: 1, type: 'string', rule: 'repeated' },
        output: { id: 2, type: 'string', rule: 'repeated' },
        name: { id: 3, type: 'string' },
        opType: { id: 4, type: 'string' },
        attribute: { id: 5, type: 'AttributeProto', rule: 'repeated' },
        domain: { id: 7, type: 'string' },
      },
    },
    AttributeProto: {
      fields: {
        name: { id: 1, type: 'string' },
        f: { id: 2, type: 'float' },
        i: { id: 3, type: 'int64' },
        s: { id: 4, type: 'bytes' },
        ints: { id: 8, type: 'int64', rule: 'repeated' },
        type: { id: 20, type: 'int32' },
      },
    },
    TensorProto: {
      fields: {
        dims: { id: 1, type: 'int64', rule: 'repeated' },
        dataType: { id: 2, type: 'int32' },
        name: { id: 8, type: 'string' },
        rawData: { id: 9, type: 'bytes' },
        externalData: { id: 13, type: 'StringStringEntryProto', rule: 'repeated' },
        dataLocation: { id: 14, type: 'int32' },
      },
    },
    StringStringEntryProto: { fields: { key: { id: 1, type: 'string' }, value: { id: 2, type: 'string' } } },
    ValueInfoProto: { fields: { name: { id: 1, type: 'string' }, type: { id: 2, type: 'TypeProto' } } },
    TypeProto: {
      fields: {
        tensorType: { id: 1, type: 'TensorTypeProto' },
        sequenceType: { id: 4, type: 'SequenceTypeProto' },
      },
    },
    SequenceTypeProto: { fields: { elemType: { id: 1, type: 'TypeProto' } } },
    TensorTypeProto: { fields: { elemType: { id: 1, type: 'int32' }, shape: { id: 2, type: 'ShapeProto' } } },
    ShapeProto: { fields: { dim: { id: 1, type: 'DimensionProto', rule: 'repeated' } } },
    DimensionProto: { fields: { dimValue: { id: 1, type: 'int64' }, dimParam: { id: 2, type: 'string' } } },
  },
});

const elementTypes: Record<ElementType, number> = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10 };

/** A tensor of floats of any shape, as a TypeProto. */
const floatTensor = { tensorType: { elemType: elementTypes.float32 } };

/** The numbers by which attributes say what they hold. */
export const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

/**
 * Encodes a recorded graph as an ONNX model file.
 *
 * @param constants inputs that become initializers. Their data is for the session to be given: each is an external file
 *   of its name
 * @param sequences names of outputs that come before the graph's own: empty sequences
 */
export function encodeModel(
  graph: Graph,
  constants: ReadonlySet<string> = new Set(),
  sequences: readonly string[] = [],
): Uint8Array {
  const inputs = [...graph.inputs].filter(([name]) => !constants.has(name));
  const external = [...graph.inputs].filter(([name]) => constants.has(name));
  const domains = new Set(graph.nodes.map(({ domain }) => domain).filter((domain) => domain !== ''));
  const outputNames = new Map([...graph.outputs].map(([name, { value }]) => [value, name]));
  const renamed = (value: string) => outputNames.get(value) ?? value;
  return onnxSchema
    .lookupType('ModelProto')
    .encode({
      irVersion: IR_VERSION,
      producerName: 'cn-clip',
      opsetImport: [
        { domain: '', version: graph.operators.opset },
        ...[...domains].map((domain) => ({ domain, version: 1 })),
      ],
      graph: {
        name: 'cn-clip',
        node: [
          ...sequences.map((name) => ({ name, opType: 'SequenceEmpty', output: [name] })),
          ...graph.nodes.map((node) =>
            nodeMessage({ ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) }),
          ),
        ],
        initializer: [
          ...[...graph.constants].map(([name, { shape, type, data }]) => ({
            name,
            dims: [...shape],
            dataType: elementTypes[type],
            rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
          })),
          ...external.map(([name, { shape, dtype }]) => ({
            name,
            dims: [...shape],
            dataType: elementTypes[dtype],
            externalData: [{ key: 'location', value: name }],
            dataLocation: 1,
          })),
        ],
        input: inputs.map(([name, { shape, dtype }]) => valueInfo(name, shape, elementTypes[dtype])),
        output: [
          ...sequences.map((name) => ({ name, type: { sequenceType: { elemType: floatTensor } } })),
          ...[...graph.outputs].map(([name, { shape, dtype }]) =>
            valueInfo(name, shape, elementTypes[dtype]),
          ),
        ],
      },
    })
    .finish();
}

/** A node as a NodeProto; it is named after its first output. */
export function nodeMessage({ op, domain, inputs, outputs, attributes }: Node): object {
  return {
    name: outputs[0],
    opType: op,
    domain,
    input: inputs,
    output: outputs,
    attribute: Object.entries(attributes).map(([name, value]) => ({ name, ...attribute(value) })),
  };
}

function attribute(value: Attribute): object {
  if (value instanceof Float) return { type: attributeTypes.float, f: value.value };
  if (typeof value === 'number') return { type: attributeTypes.int, i: value };
  if (typeof value === 'string') return { type: attributeTypes.string, s: Buffer.from(value) };
  return { type: attributeTypes.ints, ints: [...value] };
}

/**
 * An input or output as a ValueInfoProto.
 *
 * @param elemType number of the element type in onnx.proto
 */
export function valueInfo(name: string, shape: readonly (number | string)[], elemType: number): object {
  const dim = shape.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: size }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}
