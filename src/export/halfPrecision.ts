import type { Node } from '../engine/onnx/graph.js';
import { castFloats, type Dtype, type LazyTensor } from '../io/tensor.js';
import { castNode, type OnnxModel, pruned } from './onnxModel.js';

/** Operators that gain from half precision. */
const halfOperators = new Set(['Gemm', 'MatMul', 'Conv']);

/**
 * Operators that half precision would make wrong: squares and sums overflow beyond 65504, an epsilon of 1e-12
 * vanishes, and probabilities lose their digits.
 */
const fullOperators = new Set([
  'LayerNormalization',
  'Softmax',
  'ReduceSum',
  'ReduceMean',
  'Pow',
  'Sqrt',
  'Exp',
]);

export interface HalfPrecisionModel {
  model: OnnxModel;
  /** names of the values that are computed in float16 */
  halfValues: string[];
}

/**
 * A model whose matrix products, convolutions and the tables and activations between them are float16. Normalisation,
 * softmax with its mask, and the sums that residual connections build up stay float32: an operator that is in neither
 * list computes in float32 where one of its operands is. Inputs and outputs stay float32.
 *
 * @throws UserError while it is written, for a weight that float16 can't hold
 */
export function inHalfPrecision(model: OnnxModel): HalfPrecisionModel {
  const conversion = new Conversion(model);
  for (const node of model.nodes) conversion.add(node);
  return conversion.finish();
}

type Float = Extract<Dtype, 'F32' | 'F16'>;

class Conversion {
  private readonly nodes: Node[] = [];
  /** of the values that are floats in the given model */
  private readonly precisions = new Map<string, Float>();
  /** names of values in the other precision */
  private readonly converted = new Map<string, string>();
  private readonly initializers = new Map<string, LazyTensor>();

  constructor(private readonly model: OnnxModel) {
    for (const { name, dtype } of model.inputs) if (dtype === 'F32') this.precisions.set(name, 'F32');
    for (const [name, tensor] of model.initializers) {
      if (tensor.dtype !== 'F32') this.initializers.set(name, tensor);
    }
  }

  add(node: Node): void {
    const isFloat = (name: string) => this.precisions.has(name) || this.isWeight(name);
    if (!isFloat(node.inputs[0]) && node.op !== 'Cast') {
      this.nodes.push(node);
      return;
    }
    if (node.op === 'Cast') {
      // From whole numbers or truth values to floats, or the reverse.
      if (node.attributes.to === 1) this.precisions.set(node.outputs[0], 'F32');
      this.nodes.push(node);
      return;
    }
    if (node.op === 'Shape') {
      this.nodes.push(node);
      return;
    }
    const precision = this.precisionFor(node);
    const inputs = node.inputs.map((name) => (isFloat(name) ? this.inPrecision(name, precision) : name));
    this.nodes.push({ ...node, inputs });
    if (comparisons.has(node.op)) return;
    for (const output of node.outputs) this.precisions.set(output, precision);
  }

  finish(): HalfPrecisionModel {
    const outputs = new Set(this.model.outputs.map(({ name }) => name));
    const halfOutputs = [...outputs].filter((name) => this.precisions.get(name) === 'F16');
    const rename = new Map(halfOutputs.map((name) => [name, halfName(name)]));
    // A weight that is only there in half precision keeps its name.
    for (const [name, half] of this.converted) {
      if (this.isWeight(name) && !this.initializers.has(name)) rename.set(half, name);
    }
    const renamed = (name: string) => rename.get(name) ?? name;
    const nodes = this.nodes.map((node) => ({
      ...node,
      inputs: node.inputs.map(renamed),
      outputs: node.outputs.map(renamed),
    }));
    for (const name of halfOutputs) nodes.push(castNode(halfName(name), name, 'F32'));
    const initializers = new Map([...this.initializers].map(([name, tensor]) => [renamed(name), tensor]));
    const halfValues = [...this.precisions].filter(([, precision]) => precision === 'F16');
    return {
      model: pruned({ ...this.model, nodes, initializers }),
      halfValues: halfValues.map(([name]) => renamed(name)),
    };
  }

  private precisionFor({ op, inputs }: Node): Float {
    if (halfOperators.has(op)) return 'F16';
    const isSquare = op === 'Mul' && inputs[0] === inputs[1];
    if (fullOperators.has(op) || isSquare) return 'F32';
    return inputs.some((name) => this.precisions.get(name) === 'F32') ? 'F32' : 'F16';
  }

  private inPrecision(name: string, precision: Float): string {
    if (this.isWeight(name)) return this.weight(name, precision);
    if (this.precisions.get(name) === precision) return name;
    let converted = this.converted.get(name);
    if (converted === undefined) {
      converted = precision === 'F16' ? halfName(name) : `${name}_float32`;
      this.nodes.push(castNode(name, converted, precision));
      this.converted.set(name, converted);
    }
    return converted;
  }

  private weight(name: string, precision: Float): string {
    const tensor = this.model.initializers.get(name)!;
    if (precision === 'F32') {
      this.initializers.set(name, tensor);
      return name;
    }
    const half = halfName(name);
    this.initializers.set(half, castFloats(tensor, 'F16', `tensor '${name}'`));
    this.converted.set(name, half);
    return half;
  }

  private isWeight(name: string): boolean {
    return this.model.initializers.get(name)?.dtype === 'F32';
  }
}

const comparisons = new Set(['Equal', 'Greater', 'Not']);

function halfName(name: string): string {
  return `${name}_float16`;
}
