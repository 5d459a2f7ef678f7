import type { Random } from '../../random.js';

export interface Crop {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Share of the picture's area, and width over height, that a random crop may have. */
const SCALE = [0.9, 1] as const;
const RATIO = [3 / 4, 4 / 3] as const;
const ATTEMPTS = 10;

/**
 * A random part of a picture as torchvision's RandomResizedCrop draws it, with the reference's scale: area uniform in
 * [0.9, 1], ratio uniform in its logarithm. Where ten draws don't fit, the largest part in the middle whose ratio is
 * allowed.
 */
export function randomCrop(width: number, height: number, random: Random): Crop {
  const [low, high] = RATIO.map(Math.log);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * random.uniform());
    const ratio = Math.exp(low + (high - low) * random.uniform());
    const crop = { width: Math.round(Math.sqrt(area * ratio)), height: Math.round(Math.sqrt(area / ratio)) };
    if (crop.width > width || crop.height > height || crop.width === 0 || crop.height === 0) continue;
    const top = random.integer(height - crop.height + 1);
    return { ...crop, top, left: random.integer(width - crop.width + 1) };
  }
  const ratio = width / height;
  const crop = {
    width: ratio > RATIO[1] ? Math.round(height * RATIO[1]) : width,
    height: ratio < RATIO[0] ? Math.round(width / RATIO[0]) : height,
  };
  return {
    ...crop,
    left: Math.floor((width - crop.width) / 2),
    top: Math.floor((height - crop.height) / 2),
  };
}
