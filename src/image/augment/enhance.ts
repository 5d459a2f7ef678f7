import type { Image } from '../resize.js';

/**
 * Pillow's ImageEnhance for RGB pictures: a picture blended with one that lacks something. A factor of 0 gives that
 * other one, 1 the picture itself, more than 1 leads further away from the other one.
 */

/** Beside a grey picture. */
export function color(image: Image, factor: number): Image {
  const grey = luma(image);
  return blend(image, factor, (i) => grey[Math.floor(i / 3)]);
}

/** Beside the picture's mean grey. */
export function contrast(image: Image, factor: number): Image {
  const grey = luma(image);
  const mean = Math.floor(grey.reduce((sum, value) => sum + value, 0) / grey.length + 0.5);
  return blend(image, factor, () => mean);
}

/** Beside black. */
export function brightness(image: Image, factor: number): Image {
  return blend(image, factor, () => 0);
}

/** Beside a smoothed picture. */
export function sharpness(image: Image, factor: number): Image {
  const smooth = smoothed(image);
  return blend(image, factor, (i) => smooth[i]);
}

/** Grey by ITU-R 601-2, in Pillow's 16-bit fixed point. */
function luma({ data }: Image): Uint8Array {
  return Uint8Array.from({ length: data.length / 3 }, (_, pixel) => {
    const i = pixel * 3;
    return (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16;
  });
}

/** other + factor · (image − other) in float32, truncated. */
function blend(image: Image, factor: number, other: (i: number) => number): Image {
  const { fround } = Math;
  const alpha = fround(factor);
  if (alpha === 1) return image;
  const data = Uint8Array.from(image.data, (value, i) => {
    const from = other(i);
    const blended = fround(from + fround(alpha * (value - from)));
    return blended <= 0 ? 0 : blended >= 255 ? 255 : blended;
  });
  return { ...image, data };
}

/** Each value's mean with its eight neighbours, itself counting five times; the edge stays. In float32, as in Pillow. */
function smoothed({ width, height, data }: Image): Uint8Array {
  const { fround } = Math;
  const outer = fround(1 / 13);
  const inner = fround(5 / 13);
  const output = Uint8Array.from(data);
  const stride = width * 3;
  const row = (i: number, middle: number) =>
    fround(fround(fround(data[i - 3] * outer) + fround(data[i] * middle)) + fround(data[i + 3] * outer));
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * stride + 3; i < (y + 1) * stride - 3; i++) {
      const sum = fround(
        fround(fround(0.5 + row(i + stride, outer)) + row(i, inner)) + row(i - stride, outer),
      );
      output[i] = Math.min(sum, 255);
    }
  }
  return output;
}
