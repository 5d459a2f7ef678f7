import type { Node } from '../engine/onnx/graph.js';
import { bytesOf } from '../io/readFile.js';
import { type LazyTensor, readValues } from '../io/tensor.js';
import { castNode, node, type OnnxModel, pruned } from './onnxModel.js';

/**
 * Weights take 7 of the 8 bits. Processors without VNNI add two products of an activation (up to 255) and a weight in 16
 * bits, and saturate beyond 32767: 2 · 255 · 63 stays below.
 */
const LARGEST_WEIGHT = 63;

/**
 * A model whose linear layers multiply whole numbers: weights int8 with a scale for each output channel, activations
 * uint8 with a scale that is found as the model runs (DynamicQuantizeLinear, one scale for the whole batch). The patch
 * embedding, convolutions and the projections to the features, which have no bias, stay float32.
 */
export function quantized(model: OnnxModel): OnnxModel {
  const initializers = new Map(model.initializers);
  const activations = new Map<string, string[]>();
  const nodes = model.nodes.flatMap((each): Node[] => {
    const layer = linearLayerOf(each, model);
    if (layer === undefined) return [each];
    const [x, weight, bias] = each.inputs;
    const [output] = each.outputs;
    const added: Node[] = [];
    let activation = activations.get(x);
    if (activation === undefined) {
      activation = ['quantized', 'scale', 'zero_point'].map((part) => `${x}_${part}`);
      activations.set(x, activation);
      added.push(node('DynamicQuantizeLinear', [x], activation));
    }
    const [values, scale, zeroPoint] = activation;
    const names = { values: `${weight}_quantized`, scales: `${weight}_scale` };
    initializers.set(names.values, quantizedWeight(layer));
    initializers.set(names.scales, weightScales(layer));
    const part = (name: string) => `${output}_${name}`;
    const product = bias === undefined ? output : part('product');
    return [
      ...added,
      node('MatMulInteger', [values, names.values, zeroPoint], [part('integers')]),
      castNode(part('integers'), part('floats'), 'F32'),
      node('Mul', [scale, names.scales], [part('scale')]),
      node('Mul', [part('floats'), part('scale')], [product]),
      ...(bias === undefined ? [] : [node('Add', [product, bias], [output])]),
    ];
  });
  return pruned({ ...model, nodes, initializers });
}

/** The known weight of a linear layer: a matrix [inputs, outputs], or several of them, one for each head. */
interface Layer {
  tensor: LazyTensor;
  inputs: number;
  outputs: number;
  /** whether it is stored as [outputs, inputs] */
  isTransposed: boolean;
}

/** The weight of x · weightᵀ + bias, or of the products x · weight of the heads of an attention, if a node is one. */
function linearLayerOf({ op, inputs, attributes }: Node, { initializers }: OnnxModel): Layer | undefined {
  const tensor = initializers.get(inputs[1]);
  if (tensor === undefined) return undefined;
  const [rows, columns] = tensor.shape.slice(-2);
  if (op === 'Gemm' && inputs.length === 3 && attributes.transB === 1) {
    return { tensor, inputs: columns, outputs: rows, isTransposed: true };
  }
  if (op === 'MatMul' && tensor.shape.length > 2) {
    return { tensor, inputs: rows, outputs: columns, isTransposed: false };
  }
  return undefined;
}

/** One scale for each output channel: float32 [outputs], or […, 1, outputs]. */
function weightScales(layer: Layer): LazyTensor {
  const { tensor, outputs, isTransposed } = layer;
  return {
    shape: isTransposed ? [outputs] : [...tensor.shape.slice(0, -2), 1, outputs],
    dtype: 'F32',
    read: () => bytesOf(scalesOf(readValues(tensor) as Float32Array, layer)),
  };
}

/** int8 […, inputs, outputs], as MatMulInteger takes it. */
function quantizedWeight(layer: Layer): LazyTensor {
  const { tensor, inputs, outputs } = layer;
  return {
    shape: [...tensor.shape.slice(0, -2), inputs, outputs],
    dtype: 'I8',
    read: () => {
      const values = readValues(tensor) as Float32Array;
      const scales = scalesOf(values, layer);
      const integers = new Int8Array(values.length);
      for (const [channel, scale] of scales.entries()) {
        const { from, step, to } = channelPlace(layer, channel);
        for (let i = 0; i < inputs; i++)
          integers[to + i * outputs] = Math.round(values[from + i * step] / scale);
      }
      return bytesOf(integers);
    },
  };
}

function scalesOf(values: Float32Array, layer: Layer): Float32Array {
  const { inputs } = layer;
  return Float32Array.from({ length: values.length / inputs }, (_, channel) => {
    const { from, step } = channelPlace(layer, channel);
    let largest = 0;
    for (let i = 0; i < inputs; i++) largest = Math.max(largest, Math.abs(values[from + i * step]));
    // A channel of zeros has any scale.
    return largest === 0 ? 1 : largest / LARGEST_WEIGHT;
  });
}

/** Where the values of an output channel begin, how far apart they are, and where they begin in […, inputs, outputs]. */
function channelPlace({ inputs, outputs, isTransposed }: Layer, channel: number) {
  const output = channel % outputs;
  const to = (channel - output) * inputs + output;
  return isTransposed ? { from: channel * inputs, step: 1, to } : { from: to, step: outputs, to };
}
