import { closeSync } from 'node:fs';
import { UserError } from '../errors.js';
import { sizeOf } from '../shape.js';
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from './half.js';
import { allocate, bytesOf, type FilePlace, openVersion, readFully } from './readFile.js';

/** Element types of checkpoint files, by their safetensors names. BOOL is one byte, 0 or 1. */
export type Dtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

/** Values of a tensor in memory. BOOL is a Uint8Array; F16 and BF16 are widened to float32. */
export type TensorData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array;

/**
 * A tensor that is read when it is needed: what a file's header says of it, and a way to its bytes. A checkpoint is a
 * map of these, so no more of it than one tensor has to be in memory.
 */
export interface LazyTensor {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  /** All elements in row-major order, little-endian, in `dtype`. Read anew at each call. */
  read(): Uint8Array<ArrayBuffer>;
  /** Where a file holds these bytes as they are, for tensors of which one does. */
  readonly place?: FilePlace;
}

/** Longer than the name of any tensor; readers refuse what is longer, so that names can be shown. */
export const MAX_NAME_LENGTH = 500;

/** Tensors of a checkpoint by name, in its order. */
export type LazyTensors = ReadonlyMap<string, LazyTensor>;

/** Bytes of one element. */
export const elementBytes: Readonly<Record<Dtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Bytes of all elements of a tensor. */
export function byteLengthOf({ shape, dtype }: Pick<LazyTensor, 'shape' | 'dtype'>): number {
  return sizeOf(shape) * elementBytes[dtype];
}

export function isHalf(dtype: Dtype): boolean {
  return dtype === 'F16' || dtype === 'BF16';
}

/** Whether values of this type are weights: float32, or halves that become it. */
export function isFloat(dtype: Dtype): boolean {
  return dtype === 'F32' || isHalf(dtype);
}

/** Halves that are read and widened at a time: they stay in the processor's cache. */
const HALVES_AT_A_TIME = 16_384;

/** The values of a float tensor that a file holds, halves widened. @throws UserError as `RangedFile` */
export function readFloats(place: FilePlace, dtype: Dtype, count: number): Float32Array<ArrayBuffer> {
  const { position, where } = place;
  const values = new Float32Array(allocate(4 * count, where).buffer);
  const file = openVersion(place);
  try {
    if (!isHalf(dtype)) {
      readFully(file, position, bytesOf(values), where);
      return values;
    }
    const halves = new Uint16Array(Math.min(count, HALVES_AT_A_TIME));
    for (let begin = 0; begin < count; begin += halves.length) {
      const part = halves.subarray(0, count - begin);
      readFully(file, position + 2 * begin, bytesOf(part), where);
      widen(dtype, part, values.subarray(begin, begin + part.length));
    }
    return values;
  } finally {
    closeSync(file);
  }
}

/** The values of a tensor; F16 and BF16 widened to float32, which is exact. */
export function readValues(tensor: LazyTensor): TensorData {
  const { dtype } = tensor;
  const { buffer, byteOffset, byteLength } = tensor.read();
  const count = byteLength / elementBytes[dtype];
  switch (dtype) {
    case 'F16':
    case 'BF16': {
      const values = new Float32Array(count);
      widen(dtype, new Uint16Array(buffer, byteOffset, count), values);
      return values;
    }
    case 'F32':
      return new Float32Array(buffer, byteOffset, count);
    case 'F64':
      return new Float64Array(buffer, byteOffset, count);
    case 'I64':
      return new BigInt64Array(buffer, byteOffset, count);
    case 'I32':
      return new Int32Array(buffer, byteOffset, count);
    case 'I16':
      return new Int16Array(buffer, byteOffset, count);
    case 'I8':
      return new Int8Array(buffer, byteOffset, count);
    default:
      return new Uint8Array(buffer, byteOffset, count);
  }
}

function widen(dtype: Dtype, from: Uint16Array, to: Float32Array): void {
  (dtype === 'F16' ? float16ToFloat32 : bfloat16ToFloat32)(from, to);
}

/**
 * A float tensor in another precision, read and rounded when it is asked for; integers stay as they are.
 *
 * @param where what is cast, for error messages
 * @throws UserError while reading, for finite values that half precision can't hold
 */
export function castFloats(tensor: LazyTensor, dtype: 'F32' | 'F16', where: string): LazyTensor {
  if (tensor.dtype === dtype || !isFloat(tensor.dtype)) return tensor;
  return {
    shape: tensor.shape,
    dtype,
    read: () => {
      const values = readValues(tensor) as Float32Array;
      if (dtype === 'F32') return bytesOf(values);
      const halves = new Uint16Array(values.length);
      float32ToFloat16(values, halves);
      const lost = halves.findIndex((half, i) => (half & 0x7fff) === 0x7c00 && Number.isFinite(values[i]));
      if (lost !== -1) {
        throw new UserError(`${where}: ${values[lost]} is too large for half precision: keep its precision`);
      }
      return bytesOf(halves);
    },
  };
}

/** A tensor whose values lie in memory already; they are not copied. Its dtype follows from the array's class. */
export function tensorOf(shape: readonly number[], data: TensorData): LazyTensor {
  return { shape, dtype: dtypeOf(data), read: () => bytesOf(data) };
}

function dtypeOf(data: TensorData): Dtype {
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Float64Array) return 'F64';
  if (data instanceof BigInt64Array) return 'I64';
  if (data instanceof Int32Array) return 'I32';
  if (data instanceof Int16Array) return 'I16';
  return data instanceof Int8Array ? 'I8' : 'U8';
}
