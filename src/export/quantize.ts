import type { Node } from '../engine/onnx/graph.js';
import { bytesOf } from '../io/readFile.js';
import { type LazyTensor, readValues } from '../io/tensor.js';
import { sizeOf } from '../shape.js';
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

/** The known weight of a linear layer: matrices [inputs, outputs], one for each head or a single one. */
interface Layer {
  tensor: LazyTensor;
  matrices: number;
  inputs: number;
  outputs: number;
  /** whether they are stored as [outputs, inputs] */
  isTransposed: boolean;
}

/** The weight of x · weightᵀ + bias, or of the products x · weight of the heads of an attention, if a node is one. */
function linearLayerOf({ op, inputs, attributes }: Node, { initializers }: OnnxModel): Layer | undefined {
  const tensor = initializers.get(inputs[1]);
  if (tensor === undefined) return undefined;
  if (op === 'Gemm' && inputs.length === 3 && attributes.transB === 1) {
    const [outputs, inner] = tensor.shape;
    return { tensor, matrices: 1, inputs: inner, outputs, isTransposed: true };
  }
  if (op === 'MatMul' && tensor.shape.length > 2) {
    const [inner, outputs] = tensor.shape.slice(-2);
    return {
      tensor,
      matrices: sizeOf(tensor.shape.slice(0, -2)),
      inputs: inner,
      outputs,
      isTransposed: false,
    };
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
      forEachValue(layer, (from, channel, to) => {
        integers[to] = Math.round(values[from] / scales[channel]);
      });
      return bytesOf(integers);
    },
  };
}

function scalesOf(values: Float32Array, layer: Layer): Float32Array {
  const largest = new Float32Array(layer.matrices * layer.outputs);
  forEachValue(layer, (from, channel) => {
    largest[channel] = Math.max(largest[channel], Math.abs(values[from]));
  });
  // A channel of zeros has any scale.
  return largest.map((value) => (value === 0 ? 1 : value / LARGEST_WEIGHT));
}

/** Calls back with the place of each value, its output channel, and its place in […, inputs, outputs]. */
function forEachValue(
  { matrices, inputs, outputs, isTransposed }: Layer,
  call: (from: number, channel: number, to: number) => void,
): void {
  for (let matrix = 0; matrix < matrices; matrix++) {
    const first = matrix * inputs * outputs;
    for (let output = 0; output < outputs; output++) {
      for (let input = 0; input < inputs; input++) {
        const to = first + input * outputs + output;
        call(isTransposed ? first + output * inputs + input : to, matrix * outputs + output, to);
      }
    }
  }
}
