import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../../shape.js';
import type {
  AdamWUpdate,
  DeviceTensor,
  Engine,
  Feeds,
  FeedType,
  HostArray,
  HostTensor,
  Program,
  Signature,
  TensorFunction,
} from '../engine.js';

/** A tensor on the TensorFlow.js backend; writing replaces it. */
class TfTensor implements DeviceTensor {
  readonly dtype = 'float32';

  constructor(
    readonly shape: readonly number[],
    public tensor: tf.Tensor,
  ) {}

  read(): Float32Array {
    return this.tensor.dataSync() as Float32Array;
  }

  write(values: Float32Array): void {
    this.replace(tf.tensor(values.slice(), [...this.shape], 'float32'));
  }

  replace(tensor: tf.Tensor): void {
    this.tensor.dispose();
    this.tensor = tf.keep(tensor);
  }

  clear(): void {
    this.replace(tf.zeros([...this.shape]));
  }

  dispose(): void {
    this.tensor.dispose();
  }
}

/** Calls functions eagerly on an installed TensorFlow.js backend. */
export class TfjsEngine implements Engine {
  readonly description: string;
  readonly rowsAtOnce = Number.POSITIVE_INFINITY;

  constructor(private readonly backend: string) {
    this.description = `tfjs (${backend})`;
  }

  async compile(
    fn: TensorFunction,
    signature: Signature,
    constants: Readonly<Record<string, DeviceTensor>> = {},
  ): Promise<Program> {
    return {
      run: async (feeds, into) => {
        await tf.setBackend(this.backend);
        return run(fn, signature, { ...constants, ...feeds }, into ?? {});
      },
      dispose: async () => {},
    };
  }

  async adamw(updates: readonly AdamWUpdate[]): Promise<void> {
    await tf.setBackend(this.backend);
    for (const update of updates) this.update(update);
  }

  private update({ weight, gradient, moments: { first, second }, factors }: AdamWUpdate): void {
    const { beta1, beta2, epsilon, decay, stepSize, inverseCorrection } = factors;
    tf.tidy(() => {
      const [w, g, m, v] = [weight, gradient, first, second].map((tensor) => (tensor as TfTensor).tensor);
      const newFirst = tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1));
      const newSecond = tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2));
      const deviation = tf.add(tf.mul(tf.sqrt(newSecond), inverseCorrection), epsilon);
      (weight as TfTensor).replace(tf.sub(tf.mul(w, decay), tf.mul(tf.div(newFirst, deviation), stepSize)));
      (first as TfTensor).replace(newFirst);
      (second as TfTensor).replace(newSecond);
    });
  }

  norm(tensors: Iterable<DeviceTensor>): number {
    tf.setBackend(this.backend);
    let sum = 0;
    for (const tensor of tensors) {
      const square = tf.tidy(() => tf.sum(tf.square((tensor as TfTensor).tensor)));
      sum += square.dataSync()[0];
      square.dispose();
    }
    return Math.sqrt(sum);
  }

  scale(tensor: DeviceTensor, factor: number): void {
    tf.setBackend(this.backend);
    (tensor as TfTensor).replace(tf.mul((tensor as TfTensor).tensor, factor));
  }

  halved(tensor: DeviceTensor): DeviceTensor {
    return tensor;
  }

  tensor(shape: readonly number[], values?: Float32Array): DeviceTensor {
    tf.setBackend(this.backend);
    const data = values ?? new Float32Array(sizeOf(shape));
    return new TfTensor(shape, tf.keep(tf.tensor(data, [...shape], 'float32')));
  }

  async dispose(): Promise<void> {}
}

async function run(
  fn: TensorFunction,
  signature: Signature,
  feeds: Feeds,
  into: Readonly<Record<string, DeviceTensor>>,
): Promise<Record<string, HostTensor>> {
  const uploaded: tf.Tensor[] = [];
  const inputs: Record<string, tf.Tensor> = {};
  for (const [name, { dtype }] of Object.entries(signature.inputs)) {
    const feed = feeds[name];
    if (feed === undefined) throw new Error(`input '${name}' was not fed`);
    if (feed instanceof TfTensor) {
      inputs[name] = feed.tensor;
    } else {
      inputs[name] = upload(feed as HostTensor, dtype);
      uploaded.push(inputs[name]);
    }
  }
  const outputs = tf.tidy(() => fn(inputs));
  const results: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    if (name in into) {
      (into[name] as TfTensor).replace(tensor);
    } else {
      results[name] = { shape: tensor.shape, data: ofType(tensor.dtype, await tensor.data()) };
      tensor.dispose();
    }
  }
  for (const tensor of uploaded) tensor.dispose();
  return results;
}

/** Values in the array of their type: after a cast, the plain JavaScript backend leaves them in that of the old one. */
function ofType(dtype: tf.DataType, values: ArrayLike<number>): HostArray {
  const kind = dtype === 'float32' ? Float32Array : dtype === 'int32' ? Int32Array : Uint8Array;
  return values instanceof kind ? values : kind.from(values);
}

function upload({ data, shape }: HostTensor, dtype: FeedType): tf.Tensor {
  return tf.tensor(data, [...shape], dtype === 'float16' ? 'float32' : dtype);
}
