import { type DecodedImage, decodeImage } from './decode.js';
import { type Image, resizeBicubic, resizeNearest } from './resize.js';

/** Mean and standard deviation of red, green and blue that CLIP models expect, for values in [0, 1]. */
export const imageMean: readonly number[] = [0.48145466, 0.4578275, 0.40821073];
export const imageStandardDeviation: readonly number[] = [0.26862954, 0.26130258, 0.27577711];

/** What each byte becomes in each channel, in float32 steps as torchvision takes them. */
const NORMALIZED = imageMean.map((mean, channel) => {
  const { fround } = Math;
  return Float32Array.from({ length: 256 }, (_, byte) =>
    fround(fround(fround(byte / 255) - fround(mean)) / fround(imageStandardDeviation[channel])),
  );
});

/**
 * A picture file as the model's input, by the reference's steps: decode, resize to (resolution, resolution) without
 * keeping the aspect, RGB, [0, 1], normalise.
 *
 * @param out float32; 3 · resolution² values are written at `offset`: the red plane, the green, the blue
 * @param name what to call the picture in error messages
 * @param convertFirst RGB before resizing, as torchvision's ImageFolder loads pictures: of use where results are
 * compared with those of class folders. It matters for pictures with a palette, an alpha channel or inks.
 * @throws UserError as decodeImage does
 */
export async function preprocessImage(
  bytes: Uint8Array,
  resolution: number,
  out: Float32Array,
  offset: number,
  name: string,
  convertFirst = false,
): Promise<void> {
  const image = await decodeImage(bytes, name);
  normalizePixels(resizeToRgb(convertFirst ? asRgb(image) : image, resolution), out, offset);
}

/**
 * Resizes to (resolution, resolution), then converts to RGB, both as Pillow does for the picture's mode. An alpha
 * channel weighs the colours while they are resized and is then dropped.
 */
export function resizeToRgb(image: DecodedImage, resolution: number): Image {
  const { mode, resampling } = image;
  if (image.width === resolution && image.height === resolution) return toRgb(image, mode);
  if (resampling === 'nearest') return toRgb(resizeNearest(image, resolution, resolution), mode);
  if (mode !== 'RGBA') return toRgb(resizeBicubic(image, resolution, resolution), mode);
  return toRgb(unpremultiply(resizeBicubic(premultiply(image), resolution, resolution)), mode);
}

/** Writes an RGB image into three float32 planes at `offset`, scaled to [0, 1] and normalised. */
export function normalizePixels(image: Image, out: Float32Array, offset: number): void {
  const { data } = image;
  const area = image.width * image.height;
  for (let channel = 0; channel < 3; channel++) {
    const normalized = NORMALIZED[channel];
    const plane = offset + channel * area;
    for (let i = 0, from = channel; i < area; i++, from += 3) out[plane + i] = normalized[data[from]];
  }
}

function asRgb(image: DecodedImage): DecodedImage {
  return { ...toRgb(image, image.mode), mode: 'RGB', resampling: 'bicubic' };
}

function toRgb(image: Image, mode: DecodedImage['mode']): Image {
  if (mode === 'RGB') return image;
  const { width, height, data } = image;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    for (let c = 0; c < 3; c++) {
      // Inks take light away: what is left of the white after black, less that share of cyan, magenta or yellow.
      const light = 255 - data[from + 3];
      rgb[to + c] =
        mode === 'RGBA' ? data[from + c] : Math.max(light - multiplyBytes(data[from + c], light), 0);
    }
  }
  return { width, height, channels: 3, data: rgb };
}

function premultiply(image: Image): Image {
  const data = Uint8Array.from(image.data);
  for (let i = 0; i < data.length; i += 4) {
    for (let c = 0; c < 3; c++) data[i + c] = multiplyBytes(data[i + c], data[i + 3]);
  }
  return { ...image, data };
}

function unpremultiply(image: Image): Image {
  const data = Uint8Array.from(image.data);
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    if (alpha === 0) continue;
    for (let c = 0; c < 3; c++) data[i + c] = Math.min(Math.trunc((255 * data[i + c]) / alpha), 255);
  }
  return { ...image, data };
}

/** a · b / 255, rounded, in Pillow's integer steps. */
function multiplyBytes(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}
