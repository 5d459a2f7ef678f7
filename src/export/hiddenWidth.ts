import { ALIASED, SHIFT } from '../engine/onnx/kernels/matrix.js';
import { bytesOf } from '../io/readFile.js';
import { type LazyTensor, type LazyTensors, readValues } from '../io/tensor.js';
import { sizeOf } from '../shape.js';

/** The axis of a weight that runs over the hidden values of an MLP, if it has one. */
function hiddenAxis(name: string): number | undefined {
  if (/\.(mlp\.c_fc|intermediate\.dense)\.(weight|bias)$/.test(name)) return 0;
  if (/\.(mlp\.c_proj|\d+\.output\.dense)\.weight$/.test(name)) return 1;
  return undefined;
}

/**
 * The shape of a weight in an exported file. Where the rows of an MLP's hidden values would drive each other out of the
 * cache, it has a few hidden values more, which are always 0 and multiplied by 0: the product after them was seen to
 * take a fifth less time so.
 */
export function exportedShape(name: string, shape: readonly number[]): readonly number[] {
  const axis = hiddenAxis(name);
  if (axis === undefined || shape[axis] % ALIASED !== 0) return shape;
  return shape.map((size, each) => (each === axis ? size + SHIFT : size));
}

/** Weights in their exported shapes, with zeros for the hidden values that are added. */
export function exportedWeights(weights: LazyTensors): LazyTensors {
  return new Map(
    [...weights].map(([name, tensor]) => [name, lengthened(tensor, exportedShape(name, tensor.shape))]),
  );
}

function lengthened(tensor: LazyTensor, shape: readonly number[]): LazyTensor {
  if (shape === tensor.shape) return tensor;
  return {
    shape,
    dtype: 'F32',
    read: () => {
      const values = readValues(tensor) as Float32Array;
      const result = new Float32Array(sizeOf(shape));
      const [rows] = tensor.shape;
      const [from, to] = [values.length / rows, result.length / shape[0]];
      for (let row = 0; row < rows; row++)
        result.set(values.subarray(row * from, (row + 1) * from), row * to);
      return bytesOf(result);
    },
  };
}
