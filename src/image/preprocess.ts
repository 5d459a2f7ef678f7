import { RangedFile } from '../io/readFile.js';
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
 * A picture as the reference resizes it: RGB, size × size pixels, the aspect not kept.
 *
 * @param picture path of a picture file, or its content
 * @returns data [size, size, 3], 8 bits a value
 * @throws UserError for a file that can't be read, or as decodeImage does
 */
export async function resizeImage(
  picture: string | Uint8Array,
  size: number,
): Promise<{ data: Uint8Array; width: number; height: number }> {
  if (!Number.isInteger(size) || size < 1)
    throw new RangeError(`size ${size}: expected a whole number above 0`);
  const { bytes, name } =
    typeof picture === 'string'
      ? { bytes: readWhole(picture), name: picture }
      : { bytes: picture, name: 'picture' };
  const { data, width, height } = resizeToRgb(await decodeImage(bytes, name), size);
  return { data, width, height };
}

/**
 * A picture as the model's input, by the reference's steps: decode, resize, RGB, [0, 1], normalise.
 *
 * @param picture path of a picture file, or its content
 * @returns float32 [3, size, size]: the red plane, the green, the blue
 * @throws as resizeImage does
 */
export async function preprocessImage(picture: string | Uint8Array, size: number): Promise<Float32Array> {
  const image = await resizeImage(picture, size);
  const pixels = new Float32Array(3 * size ** 2);
  normalizePixels(image, pixels, 0);
  return pixels;
}

/**
 * Resizes to (resolution, resolution), then converts to RGB, both as Pillow does for the picture's mode. An alpha
 * channel weighs the colours while they are resized and is then dropped.
 *
 * @param out where the result may be written, to spare new memory: 3 · resolution² values
 */
export function resizeToRgb(image: DecodedImage, resolution: number, out?: Uint8Array): Image {
  const { mode, resampling } = image;
  if (image.width === resolution && image.height === resolution) return toRgb(image, mode);
  if (resampling === 'nearest') return toRgb(resizeNearest(image, resolution, resolution), mode);
  if (mode !== 'RGBA') return toRgb(resizeBicubic(image, resolution, resolution, out), mode);
  return toRgb(unpremultiply(resizeBicubic(premultiply(image), resolution, resolution)), mode);
}

/** Writes an RGB image into three float32 planes at `offset`, scaled to [0, 1] and normalised. */
export function normalizePixels(image: Omit<Image, 'channels'>, out: Float32Array, offset: number): void {
  const { data } = image;
  const area = image.width * image.height;
  const [red, green, blue] = NORMALIZED;
  // One pass: three, each over every third byte, would take a third longer.
  for (let i = 0, from = 0; i < area; i++, from += 3) {
    out[offset + i] = red[data[from]];
    out[offset + area + i] = green[data[from + 1]];
    out[offset + 2 * area + i] = blue[data[from + 2]];
  }
}

function readWhole(path: string): Uint8Array {
  const file = new RangedFile(path);
  return file.read(0, file.size);
}

/**
 * Converts to RGB before resizing, as torchvision's ImageFolder loads pictures: for results that are compared with those
 * of class folders. It matters for pictures with a palette, an alpha channel or inks.
 */
export function convertToRgb(image: DecodedImage): DecodedImage {
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
