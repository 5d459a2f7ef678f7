import type { HostTensor } from '../engine/engine.js';
import { assertVariance } from '../model/image.js';
import { assertLength, assertTexts, type Model } from '../model/model.js';
import { inParts, type Range } from '../rows.js';
import { sizeOf } from '../shape.js';
import { cutBatch, type PartedBatch, rowsOf } from './accumulate.js';
import { dropoutFactors } from './dropout.js';
import { keptTokens } from './masking.js';
import type { TrainerOptions } from './options.js';
import type { TrainingPlan } from './towers.js';

/**
 * A batch of matching image and text rows. Features may stand for the input of a locked tower, and for what a teacher
 * would make of the pixels.
 */
export interface TrainingBatch {
  /** [n, 3, resolution, resolution], preprocessed */
  pixels?: Float32Array;
  /** [n, embed_dim], not normalised; only with `freezeVision` */
  imageFeatures?: Float32Array;
  /** token ids [n, length], 0 where padded */
  ids: Int32Array;
  /** [n, embed_dim], not normalised; only with `freezeText` */
  textFeatures?: Float32Array;
  /** [n, 3, side, side], the same pictures preprocessed for a `teacher` of another resolution */
  teacherPixels?: Float32Array;
  /** [n, the teacher's embed_dim], not normalised; only with a `teacher` */
  teacherFeatures?: Float32Array;
  n: number;
  length: number;
}

/**
 * A batch as programs are fed it: checked, locked towers and the teacher encoded (part by part, as the batch is cut),
 * with the random draws of a step.
 *
 * @throws RangeError or TypeError for arrays that don't fit
 */
export async function prepareBatch(
  plan: TrainingPlan,
  options: TrainerOptions,
  batch: TrainingBatch,
  step: number,
): Promise<PartedBatch> {
  const { model, locked } = plan;
  const { config } = model;
  const { n, length, ids } = batch;
  if (n < 1) throw new RangeError('the batch is empty');
  assertTexts(config, ids, n, length);
  const parts = cutBatch(n, options.accumulate);
  const pixelsFor = ({ config: { image_resolution: side } }: Model) => {
    const name = side === config.image_resolution ? 'pixels' : 'teacherPixels';
    const data = batch[name];
    if (data === undefined) throw new TypeError(`the batch has no ${name}, pictures of ${side} a side`);
    const shape = [n, 3, side, side];
    assertLength(name, data.length, shape);
    return { data, shape };
  };
  const encodeImages = (encoder: Model) => {
    const pixels = pixelsFor(encoder);
    return inParts(parts, encoder.config.embed_dim, (begin, end) =>
      encoder.encodeImages(rowsOf(pixels, begin, end).data as Float32Array, end - begin),
    );
  };
  const features = (name: string, values: Float32Array, width: number): HostTensor => {
    assertLength(name, values.length, [n, width]);
    return { data: values, shape: [n, width] };
  };

  const tensors: Record<string, HostTensor> = {};
  if (locked.vision) {
    const values = batch.imageFeatures ?? (await encodeImages(model));
    tensors.imageFeatures = features('imageFeatures', values, config.embed_dim);
  } else {
    if (!plan.freezeBatchNorm) for (const { begin, end } of parts) assertVariance(config, end - begin);
    tensors.pixels = pixelsFor(model);
  }
  if (locked.text) {
    const encodeTexts = (begin: number, end: number) =>
      model.encodeTexts(ids.subarray(begin * length, end * length), end - begin, length);
    const values = batch.textFeatures ?? (await inParts(parts, config.embed_dim, encodeTexts));
    tensors.textFeatures = features('textFeatures', values, config.embed_dim);
  } else {
    tensors.ids = { data: ids, shape: [n, length] };
  }
  const teacher: Record<string, HostTensor> = {};
  if (options.teacher !== undefined) {
    const values = batch.teacherFeatures ?? (await encodeImages(options.teacher));
    teacher.teacherFeatures = features('teacherFeatures', values, options.teacher.config.embed_dim);
  }
  return {
    n,
    teacher,
    rows: (begin, end) => ({
      ...Object.fromEntries(
        Object.entries(tensors).map(([name, tensor]) => [name, rowsOf(tensor, begin, end)]),
      ),
      count: { data: Float32Array.of(end - begin), shape: [] },
      ...draws(plan, options, step, { begin, end, length }),
    }),
  };
}

/** What a step draws at random for some rows: dropout factors and the patches that are kept. */
function draws(
  { model, dropoutSites, keptPatches }: TrainingPlan,
  { seed, maskRatio }: TrainerOptions,
  step: number,
  { begin, end, length }: Range & { length: number },
): Record<string, HostTensor> {
  const n = end - begin;
  const sizes: Record<string, number> = { n, length };
  const feeds: Record<string, HostTensor> = {};
  dropoutSites.forEach(({ name, rate, shape }, site) => {
    const numbers = shape.map((size) => (typeof size === 'string' ? sizes[size] : size));
    const offset = begin * sizeOf(numbers.slice(1));
    const data = dropoutFactors(sizeOf(numbers), rate, [seed, step, site], offset);
    feeds[name] = { data, shape: numbers };
  });
  if (keptPatches !== undefined) {
    const data = keptTokens(model.config, maskRatio, { seed, step, first: begin, n });
    feeds.keptTokens = { data, shape: [n, keptPatches] };
  }
  return feeds;
}
