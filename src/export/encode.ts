import type { Type } from 'protobufjs/light.js';
import { nodeMessage, onnxSchema, valueInfo } from '../engine/onnx/protobuf.js';
import { MAX_TRANSFER_BYTES } from '../io/readFile.js';
import { byteLengthOf, type LazyTensor } from '../io/tensor.js';
import { version } from '../io/version.js';
import { elementTypeNumber, type OnnxModel, type Port } from './onnxModel.js';

/** Smaller tensors stay in the model's file, also where the others have one of their own. */
export const EXTERNAL_MIN_BYTES = 1024;
/** Readers map the file into memory, page by page. */
const EXTERNAL_ALIGNMENT = 4096;

/** Where tensors lie in the file beside the model's. */
export interface ExternalData {
  /** the file's name; it lies in the model's folder */
  location: string;
  offsets: ReadonlyMap<string, number>;
  byteLength: number;
}

export interface EncodeOptions {
  irVersion?: number;
  external?: ExternalData;
  /** false where the outputs' types are left for the reader to infer */
  withOutputShapes?: boolean;
}

/** The least IR version for each opset: that of the ONNX release which brought it. */
export const leastIrVersions: Readonly<Record<number, number>> = {
  13: 7,
  14: 7,
  15: 8,
  16: 8,
  17: 8,
  18: 8,
  19: 9,
  20: 9,
  21: 10,
  22: 10,
  23: 11,
};

/** Assigns the tensors of a model places in a file of their own. */
export function externalLayout(model: OnnxModel, location: string): ExternalData {
  const offsets = new Map<string, number>();
  let end = 0;
  for (const [name, tensor] of model.initializers) {
    const length = byteLengthOf(tensor);
    if (length < EXTERNAL_MIN_BYTES) continue;
    const offset = Math.ceil(end / EXTERNAL_ALIGNMENT) * EXTERNAL_ALIGNMENT;
    offsets.set(name, offset);
    end = offset + length;
  }
  return { location, offsets, byteLength: end };
}

/** The bytes of the external file, in pieces; one tensor at a time is in memory. */
export function* encodeExternal(model: OnnxModel, { offsets }: ExternalData): Generator<Uint8Array> {
  let end = 0;
  for (const [name, offset] of offsets) {
    yield new Uint8Array(offset - end);
    const tensor = model.initializers.get(name)!;
    yield* pieces(valuesOf(name, tensor));
    end = offset + byteLengthOf(tensor);
  }
}

/**
 * The bytes of a ModelProto, in pieces; one tensor at a time is in memory. protobufjs encodes all but the tensors'
 * data, which the format allows to follow in any order.
 */
export function* encodeOnnx(model: OnnxModel, options: EncodeOptions = {}): Generator<Uint8Array> {
  const { irVersion = leastIrVersions[model.opset], external, withOutputShapes = true } = options;
  const graph = messageBytes('GraphProto', {
    name: 'cn-clip',
    node: model.nodes.map(nodeMessage),
    input: model.inputs.map(portMessage),
    output: model.outputs.map((port) => (withOutputShapes ? portMessage(port) : { name: port.name })),
  });
  const heads = new Map(
    [...model.initializers].map(([name, tensor]) => [name, tensorHead(name, tensor, external)]),
  );
  let graphLength = graph.length;
  for (const head of heads.values()) graphLength += prefix(INITIALIZER, head.total).length + head.total;

  yield messageBytes('ModelProto', {
    irVersion,
    producerName: 'cn-clip',
    producerVersion: version,
    opsetImport: [{ domain: '', version: model.opset }],
  });
  yield prefix(GRAPH, graphLength);
  yield graph;
  for (const [name, { bytes, dataLength, total }] of heads) {
    yield prefix(INITIALIZER, total);
    yield bytes;
    if (dataLength === undefined) continue;
    yield prefix(RAW_DATA, dataLength);
    yield* pieces(valuesOf(name, model.initializers.get(name)!));
  }
}

/** Field numbers: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data. */
const GRAPH = 7;
const INITIALIZER = 5;
const RAW_DATA = 9;

/** A TensorProto up to its data. `dataLength` is undefined where the data lies in the external file. */
function tensorHead(
  name: string,
  tensor: LazyTensor,
  external: ExternalData | undefined,
): { bytes: Uint8Array; dataLength: number | undefined; total: number } {
  const message = { dims: [...tensor.shape], dataType: elementTypeNumber(tensor.dtype), name };
  const length = byteLengthOf(tensor);
  const offset = external?.offsets.get(name);
  if (offset === undefined) {
    const bytes = messageBytes('TensorProto', message);
    return { bytes, dataLength: length, total: bytes.length + prefix(RAW_DATA, length).length + length };
  }
  const entries = { location: external!.location, offset: String(offset), length: String(length) };
  const bytes = messageBytes('TensorProto', {
    ...message,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    dataLocation: 1,
  });
  return { bytes, dataLength: undefined, total: bytes.length };
}

/** The tag of a field that holds bytes, and their number. */
function prefix(field: number, length: number): Uint8Array {
  const bytes = [(field << 3) | 2];
  for (let rest = length; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}

function messageBytes(type: string, message: object): Uint8Array {
  return (onnxSchema.lookupType(type) as Type).encode(message).finish();
}

function portMessage({ name, shape, dtype }: Port): object {
  return valueInfo(name, shape, elementTypeNumber(dtype));
}

function valuesOf(name: string, tensor: LazyTensor): Uint8Array {
  const bytes = tensor.read();
  if (bytes.length === byteLengthOf(tensor)) return bytes;
  throw new Error(`${name}: ${bytes.length} bytes for ${tensor.dtype} [${tensor.shape}]`);
}

/** What is hashed at once is less than Node's limit. */
function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let begin = 0; begin < bytes.length; begin += MAX_TRANSFER_BYTES) {
    yield bytes.subarray(begin, begin + MAX_TRANSFER_BYTES);
  }
}
