import * as ort from 'onnxruntime-node';
import { messageOf, UserError } from '../../errors.js';
import { sizeOf } from '../../shape.js';
import type { AdamWUpdate, DeviceTensor, Engine, Program, Signature, TensorFunction } from '../engine.js';
import { Optimizer } from './optimizer.js';
import { OnnxProgram } from './program.js';
import { record } from './recorder.js';
import { type ProviderOptions, rowsAtOnce, sessionOptions } from './sessionOptions.js';
import { ArrayTensor, HalfTensor, writable } from './tensors.js';

/** Recorded graphs have a transpose before a product only where that is faster than a product that transposes. */
const KEEP_TRANSPOSES = { optimization: { disable_specified_optimizers: 'GemmTransposeFusion' } };

/** What ONNX Runtime puts before the message of a condition that does not hold: source, function and condition. */
const BROKEN_CONDITION = /^\/\S+:\d+ .*? was false\. /;

/** Records functions into ONNX graphs and runs them with ONNX Runtime. */
export class OnnxEngine implements Engine {
  readonly description: string;
  readonly rowsAtOnce: number;
  private readonly options: ort.InferenceSession.SessionOptions;
  private readonly optimizer = new Optimizer();

  private constructor(provider: string, options: ProviderOptions) {
    this.description = `onnx (${provider})`;
    this.rowsAtOnce = rowsAtOnce(provider);
    const { extra, ...others } = sessionOptions(provider, options);
    this.options = { ...others, extra: { ...extra, ...KEEP_TRANSPOSES } };
  }

  /**
   * Starts the engine and tries the provider out on a small program.
   *
   * @throws UserError where this ONNX Runtime lacks the provider, or the provider its libraries or one of the options
   */
  static async start(provider: string, options: ProviderOptions = {}): Promise<OnnxEngine> {
    const available = ort.listSupportedBackends().map(({ name }) => name);
    if (!available.includes(provider)) {
      throw new UserError(
        `execution provider '${provider}' is not in this ONNX Runtime, which has: ${available.join(', ')}`,
      );
    }
    const engine = new OnnxEngine(provider, options);
    // ONNX Runtime would print the same failure once more.
    ort.env.logLevel = 'fatal';
    try {
      const identity = await engine.compile(({ x }) => ({ y: x }), {
        inputs: { x: { shape: [1], dtype: 'float32' } },
      });
      await identity.dispose();
    } catch (error) {
      const reason = messageOf(error).trim().replace(/\s+/g, ' ').replace(BROKEN_CONDITION, '');
      throw new UserError(
        `execution provider '${provider}' can't be started here: ${reason}. cn-clip doctor tells what adds it; 'cpu' always can be`,
      );
    }
    return engine;
  }

  compile(
    fn: TensorFunction,
    signature: Signature,
    constants: Readonly<Record<string, DeviceTensor>> = {},
  ): Promise<Program> {
    return OnnxProgram.create(record(fn, signature), signature, constants, this.options);
  }

  adamw(updates: readonly AdamWUpdate[]): Promise<void> {
    return this.optimizer.update(updates);
  }

  norm(tensors: Iterable<DeviceTensor>): number {
    let sum = 0;
    for (const tensor of tensors) {
      const values = tensor.read();
      for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
    }
    return Math.sqrt(sum);
  }

  scale(tensor: DeviceTensor, factor: number): void {
    const values = writable(tensor);
    for (let i = 0; i < values.length; i++) values[i] *= factor;
  }

  halved(tensor: DeviceTensor): DeviceTensor {
    return new HalfTensor(tensor.shape, tensor.read());
  }

  tensor(shape: readonly number[], values?: Float32Array): DeviceTensor {
    return new ArrayTensor(shape, values ?? new Float32Array(sizeOf(shape)));
  }

  dispose(): Promise<void> {
    return this.optimizer.close();
  }
}
