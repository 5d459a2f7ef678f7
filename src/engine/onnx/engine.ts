import * as ort from 'onnxruntime-node';
import { messageOf, UserError } from '../../errors.js';
import { float16ToFloat32, float32ToFloat16 } from '../../io/half.js';
import { sizeOf } from '../../shape.js';
import type {
  AdamWFactors,
  DeviceTensor,
  Engine,
  Feeds,
  FeedType,
  HostArray,
  HostTensor,
  Moments,
  Program,
  Signature,
  TensorFunction,
} from '../engine.js';
import { updateAdamW } from './adamw.js';
import { encodeModel } from './protobuf.js';
import { record } from './recorder.js';

/** A tensor whose storage is a typed array that ONNX Runtime reads and writes in place. */
class ArrayTensor implements DeviceTensor {
  readonly dtype = 'float32';

  constructor(
    readonly shape: readonly number[],
    readonly data: Float32Array,
  ) {}

  read(): Float32Array {
    return this.data;
  }

  write(values: Float32Array): void {
    this.data.set(values);
  }

  clear(): void {
    this.data.fill(0);
  }

  dispose(): void {}
}

/** A tensor that is held in half precision; programs widen it while they run. */
class HalfTensor implements DeviceTensor {
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

/** Records functions into ONNX graphs and runs them with ONNX Runtime. */
export class OnnxEngine implements Engine {
  readonly description: string;
  private readonly options: ort.InferenceSession.SessionOptions;

  private constructor(provider: string) {
    this.description = `onnx (${provider})`;
    this.options = {
      executionProviders: [provider],
      graphOptimizationLevel: 'all',
      // A pattern is a block for all values of a run, which is taken beside the memory of the run that it was seen in.
      enableMemPattern: false,
      logSeverityLevel: 3,
    };
  }

  /**
   * Starts the engine and tries the provider out on a small program.
   *
   * @throws UserError where this ONNX Runtime lacks the provider, or the provider its libraries
   */
  static async start(provider: string): Promise<OnnxEngine> {
    const engine = new OnnxEngine(provider);
    const available = ort.listSupportedBackends().map(({ name }) => name);
    if (!available.includes(provider)) {
      throw new UserError(
        `execution provider '${provider}' is not in this ONNX Runtime, which has: ${available.join(', ')}`,
      );
    }
    // ONNX Runtime would print the same failure once more.
    ort.env.logLevel = 'fatal';
    try {
      const identity = await engine.compile(({ x }) => ({ y: x }), {
        inputs: { x: { shape: [1], dtype: 'float32' } },
      });
      await identity.dispose();
    } catch (error) {
      const reason = messageOf(error).trim().replace(/\s+/g, ' ');
      throw new UserError(
        `execution provider '${provider}' can't be started here: ${reason}. 'cpu' always can`,
      );
    }
    return engine;
  }

  async compile(fn: TensorFunction, signature: Signature): Promise<Program> {
    return new OnnxProgram(await this.session(fn, signature), signature);
  }

  adamw(
    weight: DeviceTensor,
    gradient: DeviceTensor,
    { first, second }: Moments,
    factors: AdamWFactors,
  ): void {
    updateAdamW(weight.read(), gradient.read(), first.read(), second.read(), factors);
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
    const values = tensor.read();
    for (let i = 0; i < values.length; i++) values[i] *= factor;
  }

  halved(tensor: DeviceTensor): DeviceTensor {
    return new HalfTensor(tensor.shape, tensor.read());
  }

  tensor(shape: readonly number[], values?: Float32Array): DeviceTensor {
    return new ArrayTensor(shape, values ?? new Float32Array(sizeOf(shape)));
  }

  async dispose(): Promise<void> {}

  private session(fn: TensorFunction, signature: Signature): Promise<ort.InferenceSession> {
    return ort.InferenceSession.create(encodeModel(record(fn, signature)), this.options);
  }
}

class OnnxProgram implements Program {
  constructor(
    private readonly session: ort.InferenceSession,
    private readonly signature: Signature,
  ) {}

  async run(feeds: Feeds, into: Record<string, DeviceTensor> = {}): Promise<Record<string, HostTensor>> {
    const inputs: Record<string, ort.Tensor> = {};
    for (const name of this.session.inputNames) {
      if (!(name in feeds)) throw new Error(`input '${name}' was not fed`);
      inputs[name] = toOrt(this.signature.inputs[name].dtype, feeds[name]);
    }
    const fetches: Record<string, ort.Tensor | null> = {};
    for (const name of this.session.outputNames) {
      fetches[name] = name in into ? toOrt('float32', into[name]) : null;
    }
    const results = await this.session.run(inputs, fetches);
    const outputs: Record<string, HostTensor> = {};
    for (const name of this.session.outputNames) {
      if (name in into) continue;
      outputs[name] = { shape: results[name].dims, data: results[name].data as HostArray };
    }
    return outputs;
  }

  dispose(): Promise<void> {
    return this.session.release();
  }
}

function toOrt(dtype: FeedType, tensor: HostTensor | DeviceTensor): ort.Tensor {
  if (tensor instanceof HalfTensor) return new ort.Tensor('float16', tensor.halves, tensor.shape);
  const data = 'data' in tensor ? tensor.data : (tensor as DeviceTensor).read();
  return new ort.Tensor(dtype, data as Float32Array, tensor.shape);
}
