import { type AxisWeights, resample } from './resample.js';

/** An 8-bit image, row by row, channels interleaved. */
export interface Image {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

/** 32 bits, less 8 for the pixel and 2 for sums beyond the range, as Pillow divides them. */
const PRECISION_BITS = 22;
/** Of these, in the lower of a weight's two parts; see resample.wat. */
const LOWER_BITS = 12;
/** Radius of the bicubic kernel in output pixels, or in input pixels when enlarging. */
const SUPPORT = 2;

/**
 * Resizes with Pillow's antialiased bicubic filter (a = −0.5), bit for bit: rows first, then columns, in 22-bit fixed
 * point with rounding to 8 bits between the two. When reducing, the kernel widens with the scale. All channels are
 * treated alike: an alpha channel has to be premultiplied before.
 *
 * @param image 3 or 4 channels
 * @param out see resample
 */
export function resizeBicubic(image: Image, width: number, height: number, out?: Uint8Array): Image {
  if (width === image.width && height === image.height) return image;
  return resample(image, axisWeights(image.width, width), axisWeights(image.height, height), out);
}

/** Resizes by taking the pixel under each output pixel's centre, as Pillow does. */
export function resizeNearest(image: Image, width: number, height: number): Image {
  const { channels, data } = image;
  const columns = nearestPositions(image.width, width);
  const rows = nearestPositions(image.height, height);
  const output = new Uint8Array(width * height * channels);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * image.width + column) * channels;
      for (let c = 0; c < channels; c++) output[to++] = data[from + c];
    }
  }
  return { width, height, channels, data: output };
}

/** Input positions of one axis; Pillow adds the step up, so the rounding errors are kept too. */
function nearestPositions(from: number, to: number): Int32Array {
  const positions = new Int32Array(to);
  const step = from / to;
  let centre = step * 0.5;
  for (let i = 0; i < to; i++) {
    positions[i] = Math.min(Math.floor(centre), from - 1);
    centre += step;
  }
  return positions;
}

/** Data sets repeat few sizes; the cache is emptied when it has grown beyond that. */
const cache = new Map<string, AxisWeights>();
const CACHED_SIZES = 512;

function axisWeights(from: number, to: number): AxisWeights {
  const key = `${from}:${to}`;
  let axis = cache.get(key);
  if (!axis) {
    if (cache.size >= CACHED_SIZES) cache.clear();
    axis = computeAxisWeights(from, to);
    cache.set(key, axis);
  }
  return axis;
}

/** An axis that keeps its length gets a weight of 1 for each position itself, so nothing changes. */
function computeAxisWeights(from: number, to: number): AxisWeights {
  const scale = from / to;
  const filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale;
  const firsts = new Int32Array(to);
  const counts = new Int32Array(to);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    firsts[i] = Math.max(Math.trunc(centre - support + 0.5), 0);
    counts[i] = Math.min(Math.trunc(centre + support + 0.5), from) - firsts[i];
  }
  const most = counts.reduce((a, b) => Math.max(a, b));
  const pairs = Math.ceil(most / 2);
  const starts = new Int32Array(to);
  const weights = new Int16Array(to * pairs * 4);
  const exact = new Float64Array(most);
  for (let i = 0; i < to; i++) {
    const [first, count, centre] = [firsts[i], counts[i], (i + 0.5) * scale];
    let sum = 0;
    for (let t = 0; t < count; t++) {
      // Pillow multiplies by the inverse: a division would round differently.
      exact[t] = bicubic((t + first - centre + 0.5) * (1 / filterScale));
      sum += exact[t];
    }
    // At the end of the axis the sum begins earlier, with weights of 0, so as not to reach beyond it.
    const start = Math.max(Math.min(first, from - 2 * pairs), 0);
    for (let t = 0; t < count; t++) {
      const scaled = (sum === 0 ? exact[t] : exact[t] / sum) * (1 << PRECISION_BITS);
      const weight = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
      const tap = first - start + t;
      const at = (i * pairs + (tap >> 1)) * 4 + (tap & 1);
      weights[at] = weight >> LOWER_BITS;
      weights[at + 2] = weight & ((1 << LOWER_BITS) - 1);
    }
    starts[i] = start;
  }
  return { starts, pairs, weights };
}

/** The bicubic kernel with a = −0.5, in the order of operations that Pillow has. */
function bicubic(x: number): number {
  const a = -0.5;
  const distance = Math.abs(x);
  if (distance < 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  if (distance < 2) return (((distance - 5) * distance + 8) * distance - 4) * a;
  return 0;
}
