import type { Image } from '../resize.js';

/** Input position of an output pixel's centre (x, y): (a·x + b·y + c, d·x + e·y + f). */
export type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** Moves each row by `factor` times its height above or below the top. */
export const shearX = (image: Image, factor: number, fill: readonly number[]): Image =>
  transformAffine(image, [1, factor, 0, 0, 1, 0], fill);

/** Moves each column by `factor` times its distance from the left. */
export const shearY = (image: Image, factor: number, fill: readonly number[]): Image =>
  transformAffine(image, [1, 0, 0, factor, 1, 0], fill);

/** Moves the picture to the left by `pixels`. */
export const translateX = (image: Image, pixels: number, fill: readonly number[]): Image =>
  transformAffine(image, [1, 0, pixels, 0, 1, 0], fill);

/** Moves the picture up by `pixels`. */
export const translateY = (image: Image, pixels: number, fill: readonly number[]): Image =>
  transformAffine(image, [1, 0, 0, 0, 1, pixels], fill);

/** Turns the picture counterclockwise about its centre; its size stays, so corners are cut off. */
export function rotate(image: Image, degrees: number, fill: readonly number[]): Image {
  const turn = ((degrees % 360) + 360) % 360;
  if (turn === 0) return image;
  const angle = -(turn * Math.PI) / 180;
  // Pillow rounds to 15 decimals, so that right angles are exact.
  const cos = Number(Math.cos(angle).toFixed(15));
  const sin = Number(Math.sin(angle).toFixed(15));
  const x = image.width / 2;
  const y = image.height / 2;
  const matrix = [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y] as const;
  return transformAffine(image, matrix, fill);
}

/**
 * Takes each pixel from where `matrix` maps its centre, by bicubic interpolation (a = −1) of 4×4 pixels in float64,
 * truncated to 8 bits, as Pillow's Image.transform does. The edge's pixels are repeated beyond it for the
 * interpolation; centres outside the picture become `fill`.
 */
export function transformAffine(image: Image, matrix: Affine, fill: readonly number[]): Image {
  const { width, height, channels, data } = image;
  const [a, b, c, d, e, f] = matrix;
  const output = new Uint8Array(data.length);
  const columns = new Int32Array(4);
  const sums = new Float64Array(4);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      const xIn = a * (x + 0.5) + b * (y + 0.5) + c;
      const yIn = d * (x + 0.5) + e * (y + 0.5) + f;
      if (!(xIn >= 0 && xIn < width && yIn >= 0 && yIn < height)) {
        for (let channel = 0; channel < channels; channel++) output[to + channel] = fill[channel];
        continue;
      }
      const left = Math.floor(xIn - 0.5);
      const top = Math.floor(yIn - 0.5);
      const dx = xIn - 0.5 - left;
      const dy = yIn - 0.5 - top;
      for (let i = 0; i < 4; i++) columns[i] = clamp(left - 1 + i, width - 1) * channels;
      for (let channel = 0; channel < channels; channel++) {
        for (let i = 0; i < 4; i++) {
          const row = clamp(top - 1 + i, height - 1) * width * channels + channel;
          sums[i] = cubic(
            data[row + columns[0]],
            data[row + columns[1]],
            data[row + columns[2]],
            data[row + columns[3]],
            dx,
          );
        }
        const value = cubic(sums[0], sums[1], sums[2], sums[3], dy);
        output[to + channel] = value <= 0 ? 0 : value >= 255 ? 255 : value;
      }
    }
  }
  return { width, height, channels, data: output };
}

function clamp(position: number, last: number): number {
  return position < 0 ? 0 : position > last ? last : position;
}

/** The cubic through four values one apart, at `d` behind the second, in Pillow's order of operations. */
function cubic(v1: number, v2: number, v3: number, v4: number, d: number): number {
  return v2 + d * (-v1 + v3 + d * (2 * (v1 - v2) + v3 - v4 + d * (-v1 + v2 - v3 + v4)));
}
