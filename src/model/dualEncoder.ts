import type { Hash } from 'node:crypto';
import type { ModelConfig } from './config.js';

/**
 * Encodes pictures and texts into one space: a model on an engine (`Model`), or its exported files in ONNX Runtime
 * (`ExportedModel`).
 */
export interface DualEncoder {
  readonly config: ModelConfig;
  /** what encodes, for the user: `onnx (cpu)` */
  readonly description: string;
  /** how many values are trained */
  readonly parameterCount: number;
  /** natural logarithm of what cosines are multiplied by to become logits */
  readonly logitScale: number;
  /**
   * Image features, not normalised: Float32Array [n, embed_dim].
   *
   * @param pixels [n, 3, resolution, resolution], preprocessed
   */
  encodeImages(pixels: Float32Array, n: number): Promise<Float32Array>;
  /**
   * Text features, not normalised: Float32Array [n, embed_dim].
   *
   * @param ids token ids [n, length], 0 where padded
   */
  encodeTexts(ids: Int32Array, n: number, length: number): Promise<Float32Array>;
  /** Adds all that features depend on, besides the config, to a hash. */
  addTo(hash: Hash): void;
  dispose(): Promise<void>;
}
