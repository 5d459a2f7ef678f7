import * as ort from 'onnxruntime-node';
import { float16ToFloat32, float32ToFloat16 } from '../../io/half.js';
import type { DeviceTensor, FeedType, HostTensor } from '../engine.js';

/** A tensor whose storage is a typed array that ONNX Runtime reads and writes in place. */
export class ArrayTensor implements DeviceTensor {
  readonly dtype = 'float32';
  /** whether its values are others than those it was made with */
  isChanged = false;

  constructor(
    readonly shape: readonly number[],
    public data: Float32Array,
  ) {}

  read(): Float32Array {
    return this.data;
  }

  write(values: Float32Array): void {
    this.isChanged = true;
    this.data.set(values);
  }

  clear(): void {
    this.isChanged = true;
    this.data.fill(0);
  }

  /** Whether the storage is memory of its own. */
  get isMovable(): boolean {
    const { buffer, byteLength } = this.data;
    return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
  }

  /** Gives the storage away to be changed; until it is put back into `data` the tensor has none. */
  lend(): Float32Array<ArrayBuffer> {
    const lent = writable(this) as Float32Array<ArrayBuffer>;
    this.data = new Float32Array(0);
    return lent;
  }

  dispose(): void {}
}

/** A tensor that is held in half precision; programs widen it while they run. */
export class HalfTensor implements DeviceTensor {
  readonly dtype = 'float16';
  readonly halves: Uint16Array;

  constructor(
    readonly shape: readonly number[],
    values: Float32Array,
  ) {
    this.halves = new Uint16Array(values.length);
    this.write(values);
  }

  read(): Float32Array {
    const values = new Float32Array(this.halves.length);
    float16ToFloat32(this.halves, values);
    return values;
  }

  write(values: Float32Array): void {
    float32ToFloat16(values, this.halves);
  }

  clear(): void {
    this.halves.fill(0);
  }

  dispose(): void {}
}

/** The storage of a tensor that is about to be written to. */
export function writable(tensor: DeviceTensor): Float32Array {
  if (tensor instanceof ArrayTensor) tensor.isChanged = true;
  return tensor.read();
}

/** A tensor as sessions take it: a view of its storage. */
export function toOrt(dtype: FeedType, tensor: HostTensor | DeviceTensor): ort.Tensor {
  if (tensor instanceof HalfTensor) return new ort.Tensor('float16', tensor.halves, tensor.shape);
  const data = 'data' in tensor ? tensor.data : (tensor as DeviceTensor).read();
  return new ort.Tensor(dtype, data as Float32Array, tensor.shape);
}
