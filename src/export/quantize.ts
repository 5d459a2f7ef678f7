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
    if (!isLinearLayer(each, model)) return [each];
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
    const tensor = model.initializers.get(weight)!;
    initializers.set(names.values, quantizedWeight(tensor));
    initializers.set(names.scales, weightScales(tensor));
    const part = (name: string) => `${output}_${name}`;
    return [
      ...added,
      node('MatMulInteger', [values, names.values, zeroPoint], [part('integers')]),
      castNode(part('integers'), part('floats'), 'F32'),
      node('Mul', [scale, names.scales], [part('scale')]),
      node('Mul', [part('floats'), part('scale')], [part('product')]),
      node('Add', [part('product'), bias], [output]),
    ];
  });
  return pruned({ ...model, nodes, initializers });
}

/** x · weightᵀ + bias with a weight [out, in] that is known. */
function isLinearLayer({ op, inputs, attributes }: Node, { initializers }: OnnxModel): boolean {
  return op === 'Gemm' && inputs.length === 3 && attributes.transB === 1 && initializers.has(inputs[1]);
}

/** One scale for each output channel: float32 [out]. */
function weightScales(weight: LazyTensor): LazyTensor {
  const [rows] = weight.shape;
  return {
    shape: [rows],
    dtype: 'F32',
    read: () => bytesOf(scalesOf(readValues(weight) as Float32Array, rows)),
  };
}

/** int8 [in, out], as MatMulInteger takes it. */
function quantizedWeight(weight: LazyTensor): LazyTensor {
  const [rows, columns] = weight.shape;
  return {
    shape: [columns, rows],
    dtype: 'I8',
    read: () => {
      const values = readValues(weight) as Float32Array;
      const scales = scalesOf(values, rows);
      const integers = new Int8Array(values.length);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          integers[column * rows + row] = Math.round(values[row * columns + column] / scales[row]);
        }
      }
      return bytesOf(integers);
    },
  };
}

function scalesOf(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows;
  return Float32Array.from({ length: rows }, (_, row) => {
    let largest = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++)
      largest = Math.max(largest, Math.abs(values[i]));
    // A row of zeros has any scale.
    return largest === 0 ? 1 : largest / LARGEST_WEIGHT;
  });
}
