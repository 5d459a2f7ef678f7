import type { Tensor } from '@tensorflow/tfjs-core';
import { bytesOf } from '../io/readFile.js';
import type { LazyTensor } from '../io/tensor.js';

/** Element types that cross the engine's border. `bool` is held in a Uint8Array of zeros and ones. */
export type DataType = 'float32' | 'int32' | 'bool';

/** How a program is fed: `float16` becomes float32 within it. */
export type FeedType = DataType | 'float16';

export type HostArray = Float32Array | Int32Array | Uint8Array;

/** A tensor in ordinary memory, row major. */
export interface HostTensor {
  shape: readonly number[];
  data: HostArray;
}

/** Names one input of a program. A string in the shape is a symbolic dimension, any size at run time. */
export interface TensorSpec {
  shape: readonly (number | string)[];
  dtype: FeedType;
}

/**
 * What a program takes. `limits` gives the largest value of a symbolic dimension where the function has one
 * (a table of positions, say).
 */
export interface Signature {
  inputs: Readonly<Record<string, TensorSpec>>;
  limits?: Readonly<Record<string, number>>;
}

/** A float32 tensor that stays where the engine computes: weights, gradients, optimizer state. */
export interface DeviceTensor {
  readonly shape: readonly number[];
  /** what it is held in */
  readonly dtype: 'float32' | 'float16';
  /** The values: the storage itself on the onnx engine, a downloaded copy on the tfjs engine. */
  read(): Float32Array;
  write(values: Float32Array): void;
  /** Sets all values to zero. */
  clear(): void;
  dispose(): void;
}

/** A function of tensors, written with TensorFlow.js operations. Pure: its outputs depend on its inputs alone. */
export type TensorFunction = (inputs: Record<string, Tensor>) => Record<string, Tensor>;

export type Feeds = Readonly<Record<string, HostTensor | DeviceTensor>>;

export interface Program {
  /**
   * Runs the function. Outputs named in `into` are written to those tensors (in place on the onnx engine, also
   * when the same tensor is fed); all others come back in host memory.
   */
  run(feeds: Feeds, into?: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}

/** What AdamW remembers of one parameter: running means of the gradient and of its square. */
export interface Moments {
  first: DeviceTensor;
  second: DeviceTensor;
}

/** What an AdamW update of one parameter takes. */
export interface AdamWUpdate {
  weight: DeviceTensor;
  gradient: DeviceTensor;
  moments: Moments;
  factors: AdamWFactors;
}

/** One AdamW update of one parameter: `decay`·weight − stepSize · first' / (sqrt(second')·inverseCorrection + epsilon). */
export interface AdamWFactors {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** 1 − learning rate · weight decay */
  decay: number;
  /** learning rate over the first moment's bias correction */
  stepSize: number;
  /** 1 / sqrt of the second moment's bias correction */
  inverseCorrection: number;
}

/**
 * Computes functions written with TensorFlow.js operations. Nothing above this interface knows whether a function
 * was recorded into an ONNX graph or is called eagerly.
 */
export interface Engine {
  /** `onnx` or `tfjs`, with what computes: `onnx (cpu)`, `tfjs (tensorflow)`. */
  readonly description: string;
  /** How many rows of a matrix it multiplies fastest at once; Infinity where more of them are never slower. */
  readonly rowsAtOnce: number;
  /**
   * @param constants inputs of the signature that need not be fed: every run takes their values of that time. The engine
   *   may keep them in the form that computes fastest for as long as it sees nobody write to them; values that were
   *   changed in the array of `read()` may go unseen.
   */
  compile(
    fn: TensorFunction,
    signature: Signature,
    constants?: Readonly<Record<string, DeviceTensor>>,
  ): Promise<Program>;
  /** Updates weights and their moments in place. Arrays that `read()` gave before may be empty afterwards. */
  adamw(updates: readonly AdamWUpdate[]): Promise<void>;
  /** The Euclidean norm of all values of the tensors together. */
  norm(tensors: Iterable<DeviceTensor>): number;
  /** Multiplies all values, in place. */
  scale(tensor: DeviceTensor, factor: number): void;
  /**
   * The values in half precision, rounded, where that takes less memory: on the onnx engine. On the tfjs engine it is the
   * tensor itself.
   */
  halved(tensor: DeviceTensor): DeviceTensor;
  /** A tensor of zeros, or of the given values, which it may keep as its storage. */
  tensor(shape: readonly number[], values?: Float32Array): DeviceTensor;
  dispose(): Promise<void>;
}

/** A tensor on an engine as checkpoints hold it: downloaded when it is read. */
export function lazyTensor(tensor: DeviceTensor): LazyTensor {
  return { shape: tensor.shape, dtype: 'F32', read: () => bytesOf(tensor.read()) };
}

/** The values of named tensors: the storage itself on the onnx engine, downloaded copies on the tfjs engine. */
export function readAll(
  tensors: ReadonlyMap<string, DeviceTensor>,
): Map<string, { shape: readonly number[]; data: Float32Array }> {
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: tensor.read() }]));
}
