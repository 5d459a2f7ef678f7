import type { DeviceTensor, Engine, Program, Signature, TensorSpec } from '../engine/engine.js';
import { encodeText } from './bert.js';
import type { ModelConfig } from './config.js';
import { parameterSpecs } from './parameters.js';
import { encodeImage } from './vit.js';

/** Pixels of images, preprocessed, as programs take them. */
export function pixelSpec(config: ModelConfig): TensorSpec {
  return { shape: ['n', 3, config.image_resolution, config.image_resolution], dtype: 'float32' };
}

/** Token ids of texts, as programs take them. */
export const idSpec: TensorSpec = { shape: ['n', 'length'], dtype: 'int32' };

/** A Chinese CLIP model on an engine: its config, its weights under the reference's names, and its two encoders. */
export class Model {
  private readonly encoders = new Map<string, Promise<Program>>();

  constructor(
    readonly engine: Engine,
    readonly config: ModelConfig,
    readonly weights: ReadonlyMap<string, DeviceTensor>,
  ) {}

  get parameterCount(): number {
    let count = 0;
    for (const { shape } of parameterSpecs(this.config)) count += shape.reduce((a, b) => a * b, 1);
    return count;
  }

  /**
   * Image features, not normalised: Float32Array [n, embed_dim].
   *
   * @param pixels [n, 3, resolution, resolution], preprocessed
   */
  async encodeImages(pixels: Float32Array, n: number): Promise<Float32Array> {
    const { image_resolution: side } = this.config;
    assertLength('pixels', pixels.length, [n, 3, side, side]);
    const program = await this.encoder('image', (names) => ({
      pixels: pixelSpec(this.config),
      ...this.weightSpecs(names),
    }));
    return this.features(program, { pixels: { data: pixels, shape: [n, 3, side, side] } });
  }

  /**
   * Text features, not normalised: Float32Array [n, embed_dim].
   *
   * @param ids token ids [n, length], 0 where padded
   * @throws RangeError if length exceeds the table of positions
   */
  async encodeTexts(ids: Int32Array, n: number, length: number): Promise<Float32Array> {
    assertLength('ids', ids.length, [n, length]);
    if (length > this.config.text_max_position_embeddings) {
      throw new RangeError(
        `texts of ${length} tokens exceed ${this.config.text_max_position_embeddings} positions`,
      );
    }
    const program = await this.encoder('text', (names) => ({ ids: idSpec, ...this.weightSpecs(names) }));
    return this.features(program, { ids: { data: ids, shape: [n, length] } });
  }

  /** Signature entries of the named weights. */
  weightSpecs(names: Iterable<string>): Record<string, TensorSpec> {
    const specs: Record<string, TensorSpec> = {};
    for (const name of names) specs[name] = { shape: this.weights.get(name)!.shape, dtype: 'float32' };
    return specs;
  }

  async dispose(): Promise<void> {
    for (const program of this.encoders.values()) await (await program).dispose();
    for (const weight of this.weights.values()) weight.dispose();
    await this.engine.dispose();
  }

  private encoder(tower: Tower, inputs: (names: string[]) => Signature['inputs']): Promise<Program> {
    let program = this.encoders.get(tower);
    if (program === undefined) {
      const names = [...this.weights.keys()].filter((name) => towerOf(name) === tower);
      const limits = { length: this.config.text_max_position_embeddings };
      program = this.engine.compile(
        (tensors) => ({
          features:
            tower === 'image'
              ? encodeImage(this.config, tensors, tensors.pixels)
              : encodeText(this.config, tensors, tensors.ids),
        }),
        { inputs: inputs(names), limits },
      );
      this.encoders.set(tower, program);
    }
    return program;
  }

  private async features(
    program: Program,
    feeds: Record<string, { data: Float32Array | Int32Array; shape: number[] }>,
  ) {
    const { features } = await program.run({ ...Object.fromEntries(this.weights), ...feeds });
    return features.data as Float32Array;
  }
}

type Tower = 'image' | 'text';

function towerOf(name: string): Tower | undefined {
  if (name.startsWith('visual.')) return 'image';
  return name === 'logit_scale' ? undefined : 'text';
}

function assertLength(what: string, length: number, shape: number[]): void {
  const expected = shape.reduce((product, size) => product * size, 1);
  if (length !== expected)
    throw new RangeError(`${what}: ${length} values, expected ${expected} for [${shape}]`);
}
