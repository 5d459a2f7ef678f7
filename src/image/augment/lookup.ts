import type { Image } from '../resize.js';

/** Operations on RGB pictures that replace each value by a table's, as Pillow's ImageOps do. */

/** Turns light into dark. */
export const invert = (image: Image): Image => lookUp(image, () => table((value) => 255 - value));

/** Inverts the values from `threshold` on. */
export const solarize = (image: Image, threshold: number): Image =>
  lookUp(image, () => table((value) => (value < threshold ? value : 255 - value)));

/** Keeps the upper `bits` of each value. */
export function posterize(image: Image, bits: number): Image {
  const mask = ~(2 ** (8 - bits) - 1);
  return lookUp(image, () => table((value) => value & mask));
}

/** Stretches each channel from its darkest value to its lightest. */
export function autoContrast(image: Image): Image {
  return lookUp(image, (counts) => {
    const darkest = counts.findIndex((count) => count > 0);
    const lightest = counts.findLastIndex((count) => count > 0);
    if (lightest <= darkest) return table((value) => value);
    const scale = 255 / (lightest - darkest);
    const offset = -darkest * scale;
    return table((value) => Math.trunc(value * scale + offset));
  });
}

/** Spreads the values of each channel so that all are about as frequent. */
export function equalize(image: Image): Image {
  const pixels = image.width * image.height;
  return lookUp(image, (counts) => {
    const lightest = counts.findLastIndex((count) => count > 0);
    // Nothing is left of a channel of one value, and too few pixels make no step.
    const step = Math.floor((pixels - counts[lightest]) / 255);
    if (step === 0) return table((value) => value);
    let sum = Math.floor(step / 2);
    return table((value) => {
      const level = Math.floor(sum / step);
      sum += counts[value];
      return level;
    });
  });
}

/** A table of 256 values, cut to 0…255. */
function table(replace: (value: number) => number): Uint8ClampedArray {
  return Uint8ClampedArray.from({ length: 256 }, (_, value) => replace(value));
}

/** @param tableOf gives the table of a channel from how often it has each value */
function lookUp(image: Image, tableOf: (counts: Uint32Array) => Uint8ClampedArray): Image {
  const { channels, data } = image;
  const output = new Uint8Array(data.length);
  for (let channel = 0; channel < channels; channel++) {
    const counts = new Uint32Array(256);
    for (let i = channel; i < data.length; i += channels) counts[data[i]]++;
    const values = tableOf(counts);
    for (let i = channel; i < data.length; i += channels) output[i] = values[data[i]];
  }
  return { ...image, data: output };
}
