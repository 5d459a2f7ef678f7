import { normalize } from '../eval/ranking.js';
import { decodeImage } from '../image/decode.js';
import { normalizePixels, preprocessImage, resizeToRgb } from '../image/preprocess.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { prepareText, type Tokenizer } from '../text/tokenizer.js';

/** Embeds texts and pictures with one model, both scaled to unit length: their inner product is the cosine. */
export class Embedder {
  constructor(
    readonly model: DualEncoder,
    readonly tokenizer: Tokenizer,
    readonly contextLength: number,
  ) {}

  get dimension(): number {
    return this.model.config.embed_dim;
  }

  /** Float32Array [texts, dimension]. Texts are prepared as the reference's datasets do; long ones lose their end. */
  async texts(texts: readonly string[]): Promise<Float32Array> {
    const { ids, n, length } = this.tokenizer.encodeBatch(texts.map(prepareText), this.contextLength);
    return normalize(await this.model.encodeTexts(ids, n, length), this.dimension);
  }

  /** Preprocessed pixels of a picture file. @throws UserError where it can't be read or decoded */
  pixels(path: string): Promise<Float32Array> {
    return preprocessImage(path, this.model.config.image_resolution);
  }

  /** The same of a picture from elsewhere. @throws UserError also where it has more than `maxPixels` */
  async pixelsOf(bytes: Uint8Array, maxPixels: number): Promise<Float32Array> {
    const side = this.model.config.image_resolution;
    const pixels = new Float32Array(3 * side ** 2);
    normalizePixels(resizeToRgb(await decodeImage(bytes, 'picture', maxPixels), side), pixels, 0);
    return pixels;
  }

  /** Float32Array [pictures, dimension], from what `pixels` gives of each. */
  async pictures(pixels: readonly Float32Array[]): Promise<Float32Array> {
    const values = 3 * this.model.config.image_resolution ** 2;
    const batch = new Float32Array(pixels.length * values);
    for (const [i, one] of pixels.entries()) batch.set(one, i * values);
    return normalize(await this.model.encodeImages(batch, pixels.length), this.dimension);
  }
}
