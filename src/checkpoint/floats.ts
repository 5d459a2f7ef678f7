import { UserError } from '../errors.js';
import { isFloat, type LazyTensor, type LazyTensors, readValues } from '../io/tensor.js';
import { isCounter } from '../model/parameters.js';

/**
 * A named tensor, which must hold floats, or count steps (int64, as PyTorch does), in the given shape. Nothing is read.
 *
 * @throws UserError if it is missing, has another shape, or is no float tensor
 */
export function requireTensor(
  tensors: LazyTensors,
  name: string,
  shape: readonly number[],
  path: string,
): LazyTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new UserError(`${path}: tensor '${name}' is missing`);
  if (tensor.shape.join() !== shape.join()) {
    throw new UserError(
      `${path}: tensor '${name}' has shape [${tensor.shape}], the model config asks for [${shape}]`,
    );
  }
  const { dtype } = tensor;
  if (isFloat(dtype) || (dtype === 'I64' && isCounter(name))) return tensor;
  throw new UserError(`${path}: tensor '${name}' is ${dtype}, expected F32, F16 or BF16`);
}

/**
 * The values of a named tensor as float32; halves are widened.
 *
 * @throws UserError as `requireTensor`, and for a counter that float32 can't hold
 */
export function floats(
  tensors: LazyTensors,
  name: string,
  shape: readonly number[],
  path: string,
): Float32Array {
  const tensor = requireTensor(tensors, name, shape, path);
  const values = readValues(tensor);
  if (!(values instanceof BigInt64Array)) return values as Float32Array;
  const counts = Float32Array.from(values, Number);
  if (values.every((count, i) => BigInt(counts[i]) === count)) return counts;
  throw new UserError(`${path}: tensor '${name}' counts ${values} steps, more than can be kept here`);
}
