import type { Hash } from 'node:crypto';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { DeviceTensor, Engine, HostTensor, Program, Signature, TensorSpec } from '../engine/engine.js';
import { bytesOf } from '../io/readFile.js';
import { type LazyTensor, tensorOf } from '../io/tensor.js';
import { adapterNames } from '../nn/layers.js';
import { inParts, rangesOf } from '../rows.js';
import { sizeOf } from '../shape.js';
import { picturesAtOnce, textsAtOnce } from './atOnce.js';
import { encodeText } from './bert.js';
import type { ModelConfig } from './config.js';
import type { DualEncoder } from './dualEncoder.js';
import { encodeImage } from './image.js';
import { mergedValues } from './lora.js';
import { countParameters, isCounter, isTextParameter, isVisionParameter } from './parameters.js';

/** Pixels of images, preprocessed, as programs take them. */
export function pixelSpec(config: ModelConfig): TensorSpec {
  return { shape: ['n', 3, config.image_resolution, config.image_resolution], dtype: 'float32' };
}

/** Token ids of texts, as programs take them. */
export const idSpec: TensorSpec = { shape: ['n', 'length'], dtype: 'int32' };

/** A Chinese CLIP model on an engine: its config, its weights under the reference's names, and its two encoders. */
export class Model implements DualEncoder {
  /** low-rank updates of weights that are being trained (LoRA), by name; the encoders apply them */
  adapters: ReadonlyMap<string, DeviceTensor> = new Map();
  private readonly held: Map<string, DeviceTensor>;
  private areWeightsConstant = false;
  private imageEncoder: Promise<Program> | undefined;
  private textEncoder: Promise<Program> | undefined;

  constructor(
    readonly engine: Engine,
    readonly config: ModelConfig,
    weights: ReadonlyMap<string, DeviceTensor>,
  ) {
    this.held = new Map(weights);
  }

  get weights(): ReadonlyMap<string, DeviceTensor> {
    return this.held;
  }

  /** How many values are trained: buffers don't count. */
  get parameterCount(): number {
    return countParameters(this.config);
  }

  get description(): string {
    return this.engine.description;
  }

  get logitScale(): number {
    return this.weights.get('logit_scale')!.read()[0];
  }

  addTo(hash: Hash): void {
    for (const [name, weight] of this.weights) hash.update(name).update(bytesOf(weight.read()));
  }

  /**
   * Image features, not normalised: Float32Array [n, embed_dim].
   *
   * @param pixels [n, 3, resolution, resolution], preprocessed
   */
  async encodeImages(pixels: Float32Array, n: number): Promise<Float32Array> {
    const { image_resolution: side } = this.config;
    assertPixels(this.config, pixels, n);
    this.imageEncoder ??= this.compileEncoder(
      isVisionParameter,
      { pixels: pixelSpec(this.config) },
      (inputs) => encodeImage(this.config, inputs, inputs.pixels),
    );
    const program = await this.imageEncoder;
    const parts = rangesOf(n, picturesAtOnce(this.config, this.engine.rowsAtOnce));
    return inParts(parts, this.config.embed_dim, (begin, end) => {
      const data = pixels.subarray(begin * 3 * side ** 2, end * 3 * side ** 2);
      return this.features(program, { pixels: { data, shape: [end - begin, 3, side, side] } });
    });
  }

  /**
   * Text features, not normalised: Float32Array [n, embed_dim].
   *
   * @param ids token ids [n, length], 0 where padded
   * @throws RangeError if ids are too few, too many or too long, or one is no word piece of the model
   */
  async encodeTexts(ids: Int32Array, n: number, length: number): Promise<Float32Array> {
    assertTexts(this.config, ids, n, length);
    this.textEncoder ??= this.compileEncoder(isTextParameter, { ids: idSpec }, (inputs) =>
      encodeText(this.config, inputs, inputs.ids),
    );
    const program = await this.textEncoder;
    return inParts(
      rangesOf(n, textsAtOnce(length, this.engine.rowsAtOnce)),
      this.config.embed_dim,
      (begin, end) => {
        const data = ids.subarray(begin * length, end * length);
        return this.features(program, { ids: { data, shape: [end - begin, length] } });
      },
    );
  }

  /**
   * All weights as a checkpoint holds them: under the reference's names, in its order and with its dtypes, adapters
   * merged.
   */
  get tensors(): Map<string, LazyTensor> {
    return new Map([...this.weights].map(([name, weight]) => [name, this.storedTensor(name, weight)]));
  }

  private storedTensor(name: string, weight: DeviceTensor): LazyTensor {
    const { shape } = weight;
    if (isCounter(name)) {
      return tensorOf(
        shape,
        BigInt64Array.from(weight.read(), (count) => BigInt(count)),
      );
    }
    return { shape, dtype: 'F32', read: () => bytesOf(mergedValues(name, weight, this.adapters)) };
  }

  /** Weights and adapters as programs are fed them. */
  get feeds(): Record<string, DeviceTensor> {
    return Object.fromEntries([...this.weights, ...this.adapters]);
  }

  /** Signature entries of the weights and adapters whose names are chosen. */
  weightSpecs(isChosen: (name: string) => boolean): Record<string, TensorSpec> {
    const chosen = Object.entries(this.feeds).filter(([name]) => isChosen(name));
    return Object.fromEntries(chosen.map(([name, { shape, dtype }]) => [name, { shape, dtype }]));
  }

  /**
   * Holds the named weights in a precision from now on; float16 rounds them, where the engine has it. Programs that were
   * compiled before don't fit any more.
   */
  async hold(names: Iterable<string>, dtype: DeviceTensor['dtype']): Promise<void> {
    for (const name of names) {
      const weight = this.weights.get(name)!;
      if (weight.dtype === dtype) continue;
      const { engine } = this;
      const replacement =
        dtype === 'float16' ? engine.halved(weight) : engine.tensor(weight.shape, weight.read());
      if (replacement === weight) continue;
      this.held.set(name, replacement);
      weight.dispose();
      await this.disposeEncoders();
    }
  }

  /** Gives the model adapters, which it then owns; those that it has are merged before. */
  async adapt(adapters: ReadonlyMap<string, DeviceTensor>): Promise<void> {
    await this.mergeAdapters();
    await this.disposeEncoders();
    this.adapters = adapters;
  }

  /** Puts the updates of the adapters into the weights; without adapters nothing happens. */
  async mergeAdapters(): Promise<void> {
    if (this.adapters.size === 0) return;
    for (const [name, weight] of this.weights) {
      if (this.adapters.has(adapterNames.a(name))) weight.write(mergedValues(name, weight, this.adapters));
    }
    for (const adapter of this.adapters.values()) adapter.dispose();
    this.adapters = new Map();
    await this.disposeEncoders();
  }

  /**
   * Says whether the weights stay as they are, as in a model that was loaded to encode. Programs may then build them in,
   * which is faster, and may differ in the last bits: a training, fresh or resumed, always feeds them.
   */
  async expectConstantWeights(areConstant: boolean): Promise<void> {
    if (areConstant === this.areWeightsConstant) return;
    this.areWeightsConstant = areConstant;
    await this.disposeEncoders();
  }

  async dispose(): Promise<void> {
    await this.disposeEncoders();
    for (const tensor of Object.values(this.feeds)) tensor.dispose();
    await this.engine.dispose();
  }

  private async disposeEncoders(): Promise<void> {
    await (await this.imageEncoder)?.dispose();
    await (await this.textEncoder)?.dispose();
    this.imageEncoder = undefined;
    this.textEncoder = undefined;
  }

  private compileEncoder(
    isNeeded: (name: string) => boolean,
    input: Signature['inputs'],
    encode: (inputs: Record<string, Tensor>) => Tensor,
  ): Promise<Program> {
    const signature: Signature = {
      inputs: { ...input, ...this.weightSpecs(isNeeded) },
      limits: { length: this.config.text_max_position_embeddings },
    };
    const constants = this.areWeightsConstant ? this.feeds : {};
    return this.engine.compile((inputs) => ({ features: encode(inputs) }), signature, constants);
  }

  private async features(program: Program, input: Record<string, HostTensor>): Promise<Float32Array> {
    const { features } = await program.run({ ...this.feeds, ...input });
    return features.data as Float32Array;
  }
}

/** @throws RangeError naming the values, unless there are as many as the shape says. */
export function assertLength(what: string, length: number, shape: number[]): void {
  const expected = sizeOf(shape);
  if (length !== expected)
    throw new RangeError(`${what}: ${length} values, expected ${expected} for [${shape}]`);
}

/** @throws RangeError unless pixels are [n, 3, resolution, resolution]. */
export function assertPixels({ image_resolution: side }: ModelConfig, pixels: Float32Array, n: number): void {
  assertLength('pixels', pixels.length, [n, 3, side, side]);
}

/** @throws RangeError unless ids are [n, length], no longer than the table of positions, all of the vocabulary. */
export function assertTexts(config: ModelConfig, ids: Int32Array, n: number, length: number): void {
  const { vocab_size: words, text_max_position_embeddings: positions } = config;
  assertLength('ids', ids.length, [n, length]);
  if (length > positions) throw new RangeError(`texts of ${length} tokens exceed ${positions} positions`);
  const unknown = ids.find((id) => id < 0 || id >= words);
  if (unknown !== undefined) {
    throw new RangeError(`token id ${unknown} is outside the model's vocabulary of ${words} word pieces`);
  }
}
