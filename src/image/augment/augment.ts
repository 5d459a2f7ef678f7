import type { Random } from '../../random.js';
import type { DecodedImage } from '../decode.js';
import { resizeToRgb } from '../preprocess.js';
import type { Image } from '../resize.js';
import { autoAugment } from './autoAugment.js';
import { type Crop, randomCrop } from './crop.js';

/**
 * A picture as the reference trains on it with `--use-augment`: a random part resized to (size, size), mirrored half of
 * the time, one sub-policy of AutoAugment. All draws are from `random`, so its key decides the outcome.
 *
 * @returns RGB, not yet normalised
 */
export function augmentImage(image: DecodedImage, size: number, random: Random): Image {
  const part = resizeToRgb(cut(image, randomCrop(image.width, image.height, random)), size);
  return autoAugment(random.uniform() < 0.5 ? mirror(part) : part, random);
}

function cut(image: DecodedImage, { left, top, width, height }: Crop): DecodedImage {
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let row = 0; row < height; row++) {
    const from = ((top + row) * image.width + left) * channels;
    data.set(image.data.subarray(from, from + width * channels), row * width * channels);
  }
  return { ...image, width, height, data };
}

/** Left becomes right. */
function mirror(image: Image): Image {
  const { width, channels, data } = image;
  const mirrored = new Uint8Array(data.length);
  for (let to = 0; to < data.length; to += channels) {
    const x = (to / channels) % width;
    const from = to + (width - 1 - 2 * x) * channels;
    for (let c = 0; c < channels; c++) mirrored[to + c] = data[from + c];
  }
  return { ...image, data: mirrored };
}
