import type { Random } from '../../random.js';
import { imageMean } from '../preprocess.js';
import type { Image } from '../resize.js';
import { rotate, shearX, shearY, translateX, translateY } from './affine.js';
import { brightness, color, contrast, sharpness } from './enhance.js';
import { autoContrast, equalize, invert, posterize, solarize } from './lookup.js';

/** Colour of what a transform brings in from outside: the mean that models normalise with. */
const FILL = imageMean.map((mean) => Math.round(255 * mean));

/** What a magnitude from 0 to 10 means for each operation, as in timm. `sign` is −1 or 1. */
const operations = {
  shearX: (image, level, sign) => shearX(image, sign() * level * 0.3, FILL),
  shearY: (image, level, sign) => shearY(image, sign() * level * 0.3, FILL),
  translateX: (image, level, sign) => translateX(image, sign() * level * translation(image), FILL),
  translateY: (image, level, sign) => translateY(image, sign() * level * translation(image), FILL),
  rotate: (image, level, sign) => rotate(image, sign() * level * 30, FILL),
  autoContrast: (image) => autoContrast(image),
  invert: (image) => invert(image),
  equalize: (image) => equalize(image),
  solarize: (image, level) => solarize(image, Math.trunc(level * 256)),
  posterize: (image, level) => posterize(image, Math.trunc(level * 4) + 4),
  contrast: (image, level) => contrast(image, level * 1.8 + 0.1),
  color: (image, level) => color(image, level * 1.8 + 0.1),
  brightness: (image, level) => brightness(image, level * 1.8 + 0.1),
  sharpness: (image, level) => sharpness(image, level * 1.8 + 0.1),
} satisfies Record<string, (image: Image, level: number, sign: () => number) => Image>;

export type Operation = keyof typeof operations;
export const operationNames = Object.keys(operations) as Operation[];

/** The farthest that a picture is moved, in pixels. */
const translation = ({ width }: Image): number => Math.trunc(width * 0.45);

type Step = readonly [operation: Operation, probability: number, magnitude: number];

/**
 * AutoAugment's policy for ImageNet (Cubuk et al., 2019, "AutoAugment: Learning augmentation policies from data", table
 * 9), timm's 'original': 25 pairs of operations with their probabilities and magnitudes.
 */
const policy: readonly (readonly [Step, Step])[] = [
  [
    ['posterize', 0.4, 8],
    ['rotate', 0.6, 9],
  ],
  [
    ['solarize', 0.6, 5],
    ['autoContrast', 0.6, 5],
  ],
  [
    ['equalize', 0.8, 8],
    ['equalize', 0.6, 3],
  ],
  [
    ['posterize', 0.6, 7],
    ['posterize', 0.6, 6],
  ],
  [
    ['equalize', 0.4, 7],
    ['solarize', 0.2, 4],
  ],
  [
    ['equalize', 0.4, 4],
    ['rotate', 0.8, 8],
  ],
  [
    ['solarize', 0.6, 3],
    ['equalize', 0.6, 7],
  ],
  [
    ['posterize', 0.8, 5],
    ['equalize', 1, 2],
  ],
  [
    ['rotate', 0.2, 3],
    ['solarize', 0.6, 8],
  ],
  [
    ['equalize', 0.6, 8],
    ['posterize', 0.4, 6],
  ],
  [
    ['rotate', 0.8, 8],
    ['color', 0.4, 0],
  ],
  [
    ['rotate', 0.4, 9],
    ['equalize', 0.6, 2],
  ],
  [
    ['equalize', 0, 7],
    ['equalize', 0.8, 8],
  ],
  [
    ['invert', 0.6, 4],
    ['equalize', 1, 8],
  ],
  [
    ['color', 0.6, 4],
    ['contrast', 1, 8],
  ],
  [
    ['rotate', 0.8, 8],
    ['color', 1, 2],
  ],
  [
    ['color', 0.8, 8],
    ['solarize', 0.8, 7],
  ],
  [
    ['sharpness', 0.4, 7],
    ['invert', 0.6, 8],
  ],
  [
    ['shearX', 0.6, 5],
    ['equalize', 1, 9],
  ],
  [
    ['color', 0.4, 0],
    ['equalize', 0.6, 3],
  ],
  [
    ['equalize', 0.4, 7],
    ['solarize', 0.2, 4],
  ],
  [
    ['solarize', 0.6, 5],
    ['autoContrast', 0.6, 5],
  ],
  [
    ['invert', 0.6, 4],
    ['equalize', 1, 8],
  ],
  [
    ['color', 0.6, 4],
    ['contrast', 1, 8],
  ],
  [
    ['equalize', 0.8, 8],
    ['equalize', 0.6, 3],
  ],
];

/** One sub-policy, drawn at random, on an RGB picture. */
export function autoAugment(image: Image, random: Random): Image {
  return policy[random.integer(policy.length)].reduce(
    (result, [operation, probability, magnitude]) =>
      random.uniform() < probability
        ? applyOperation(result, operation, magnitude, () => (random.uniform() < 0.5 ? 1 : -1))
        : result,
    image,
  );
}

/**
 * @param magnitude strength from 0 to 10
 * @param sign direction, −1 or 1, asked for by the operations that have one
 */
export function applyOperation(
  image: Image,
  operation: Operation,
  magnitude: number,
  sign: () => number,
): Image {
  return operations[operation](image, magnitude / 10, sign);
}
