import * as ort from 'onnxruntime-node';
import { sessionOptions } from '../engine/onnx/sessionOptions.js';
import { normalize, topK } from '../eval/ranking.js';
import type { Samples } from './samples.js';

export const precisions = ['fp32', 'fp16', 'int8'] as const;
export type Precision = (typeof precisions)[number];
export type Tower = 'image' | 'text';

/** How near an exported tower comes to the model. */
export interface Parity {
  /** name of the file */
  file: string;
  tower: Tower;
  precision: Precision;
  samples: number;
  /** of the features of one sample by the model and by the file */
  minCosine: number;
  meanCosine: number;
  /** largest difference of one feature's value; the joint model's are of length 1 */
  maxDifference: number;
  /**
   * which part of the ten samples of the other tower that the model's features rank first, the file's features rank
   * among the first ten, too: mean over all samples, from 0 to 1
   */
  topTenAgreement: number;
  /** the least cosine that was asked for */
  threshold: number;
  /** of fp16: the largest magnitude of a float16 value inside of the tower, which must stay below 65504 */
  largestHalf?: number;
}

/** Features of the samples, not normalised: Float32Array [samples, embed_dim]. */
export type Features = Readonly<Record<Tower, Float32Array>>;

/** What the samples are fed as, and where the features come out. */
export interface FeatureNames {
  image?: { input: string; output: string };
  text?: { input: string; output: string; mask?: string };
}

/** Few at a time: a large model's activations take much memory. */
const BATCH = 4;
const RANKED = 10;

/**
 * Sessions that hold the weights once: mapped from the file, not packed anew for faster products.
 *
 * @param session as of `sessionOptions`
 */
export function frugalOptions(
  session: Readonly<Record<string, string>> = {},
): ort.InferenceSession.SessionOptions {
  return { ...sessionOptions('cpu', {}, { disable_prepacking: '1', ...session }), enableCpuMemArena: false };
}

/** Runs an exported file on the samples. */
export async function featuresOf(
  path: string,
  samples: Samples,
  names: FeatureNames,
  width: number,
  options: ort.InferenceSession.SessionOptions = frugalOptions(),
): Promise<Partial<Features>> {
  const session = await ort.InferenceSession.create(path, options);
  try {
    const features: Partial<Record<Tower, Float32Array>> = {};
    if (names.image !== undefined) features.image = new Float32Array(samples.images * width);
    if (names.text !== undefined) features.text = new Float32Array(samples.texts * width);
    let begin = 0;
    for (const feeds of feedsOf(samples, names, BATCH)) {
      const results = await session.run(feeds);
      for (const tower of ['image', 'text'] as const) {
        const port = names[tower];
        if (port === undefined) continue;
        const rows = rowsFrom(begin, BATCH, tower === 'image' ? samples.images : samples.texts);
        features[tower]!.set(results[port.output].data as Float32Array, rows[0] * width);
      }
      begin += BATCH;
    }
    return features;
  } finally {
    await session.release();
  }
}

/**
 * The samples in batches, as a model of these inputs is fed. A joint model always takes images and texts: the kind that
 * has run out repeats its last one.
 */
export function* feedsOf(
  samples: Samples,
  { image, text }: FeatureNames,
  batch: number,
): Generator<Record<string, ort.Tensor>> {
  const count = Math.max(image === undefined ? 0 : samples.images, text === undefined ? 0 : samples.texts);
  for (let begin = 0; begin < count; begin += batch) {
    const feeds: Record<string, ort.Tensor> = {};
    if (image !== undefined)
      feeds[image.input] = pixelTensor(samples, rowsFrom(begin, batch, samples.images));
    if (text !== undefined) {
      const rows = rowsFrom(begin, batch, samples.texts);
      feeds[text.input] = idTensor(samples, rows);
      if (text.mask !== undefined) feeds[text.mask] = idTensor(samples, rows, (id) => (id === 0 ? 0n : 1n));
    }
    yield feeds;
  }
}

/** Begin and end of a batch, within the rows that there are. */
function rowsFrom(begin: number, batch: number, count: number): [number, number] {
  const end = Math.min(begin + batch, count);
  return [Math.min(begin, Math.max(0, end - 1)), end];
}

function pixelTensor({ pixels, images }: Samples, [begin, end]: [number, number]): ort.Tensor {
  const size = pixels.length / images;
  const side = Math.sqrt(size / 3);
  return new ort.Tensor('float32', pixels.subarray(begin * size, end * size), [end - begin, 3, side, side]);
}

function idTensor(
  { ids, length }: Samples,
  [begin, end]: [number, number],
  convert: (id: number) => bigint = BigInt,
): ort.Tensor {
  const values = BigInt64Array.from(ids.subarray(begin * length, end * length), convert);
  return new ort.Tensor('int64', values, [end - begin, length]);
}

/** Compares a tower's features with the model's. Those that are not finite have no cosine: it is NaN. */
export async function compare(
  tower: Tower,
  found: Float32Array,
  expected: Features,
  width: number,
): Promise<Pick<Parity, 'samples' | 'minCosine' | 'meanCosine' | 'maxDifference' | 'topTenAgreement'>> {
  const samples = found.length / width;
  if (!found.every(Number.isFinite)) {
    return { samples, minCosine: NaN, meanCosine: NaN, maxDifference: NaN, topTenAgreement: 0 };
  }
  const [ours, theirs] = [normalize(found, width), normalize(expected[tower], width)];
  const cosines = Array.from({ length: samples }, (_, i) => {
    let sum = 0;
    for (let j = i * width; j < (i + 1) * width; j++) sum += ours[j] * theirs[j];
    return sum;
  });
  const candidates = normalize(expected[tower === 'image' ? 'text' : 'image'], width);
  const first = await topK(ours, candidates, width, RANKED);
  const second = await topK(theirs, candidates, width, RANKED);
  let common = 0;
  for (let i = 0; i < samples; i++) {
    const ranked = (top: typeof first) => top.indices.subarray(i * top.k, (i + 1) * top.k);
    const expectedRows = new Set(ranked(second));
    for (const row of ranked(first)) if (expectedRows.has(row)) common++;
  }
  return {
    samples,
    minCosine: Math.min(...cosines),
    meanCosine: cosines.reduce((sum, cosine) => sum + cosine, 0) / samples,
    maxDifference: found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[tower][i])), 0),
    topTenAgreement: common / (samples * first.k),
  };
}
