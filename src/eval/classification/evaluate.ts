import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../errors.js';
import { writeText } from '../../io/atomic.js';
import { readJson } from '../../io/json.js';
import type { Reporter } from '../../io/terminal.js';
import { digest } from '../../model/fingerprint.js';
import { isBuffer, isVisionParameter, parameterSpecs } from '../../model/parameters.js';
import { sizeOf } from '../../shape.js';
import type { ImageEncoding } from '../encodeRows.js';
import { bootstrapIntervals, meanOf } from '../statistics.js';
import { classProbabilities, embedClasses, type TextEncoder } from './classifier.js';
import type { ClassificationDataset } from './dataset.js';
import { encodePictures } from './imageFeatures.js';
import { correctness, type MetricName, metricNames, type Predictions, prepareMetric } from './metrics.js';
import { readProbabilities, writePredictionFile } from './predictions.js';

const interval = z.object({ low: z.number(), high: z.number() });

const scoreSchema = z.object({
  metric: z.enum(metricNames),
  /** of the metric, from 0 to 1 */
  value: z.number(),
  /** share of pictures whose most probable class is one of theirs */
  top1: z.number(),
  /** 95 % bootstrap intervals of both */
  valueInterval: interval,
  top1Interval: interval,
  images: z.int(),
  classes: z.int(),
  /** hash of all that the score depends on: a dataset whose hash is the same isn't evaluated again */
  fingerprint: z.string(),
});

/** The result of one dataset, as scores.json has it. */
export type DatasetScore = z.infer<typeof scoreSchema>;

export interface Evaluator extends TextEncoder, ImageEncoding {
  /** what prediction files call the model */
  modelName: string;
  /** folder of the results */
  out: string;
}

export interface DatasetEvaluation {
  dataset: ClassificationDataset;
  score: DatasetScore;
  predictions: Predictions;
}

const MAX_SCORES_BYTES = 1 << 24;

/**
 * Zero-shot classification of a dataset. Writes its prediction file and its entry in scores.json; where an earlier run
 * has done so with the same model, prompts, labels and pictures, reads them instead. A run that was stopped goes on.
 *
 * @throws UserError naming a picture that is broken, or labels that don't suit the metric
 */
export async function evaluateDataset(
  evaluator: Evaluator,
  dataset: ClassificationDataset,
  metric: MetricName,
  prompts: readonly string[],
  reporter: Reporter,
): Promise<DatasetEvaluation> {
  const { out } = evaluator;
  const { name, classNames, images, targets, submissionOrder: order } = dataset;
  mkdirSync(out, { recursive: true });
  const picturesKey = digest([
    evaluator.fingerprint,
    images.map((image) => [image, sizeAndTime(dataset, image)]),
  ]);
  const fingerprint = digest([picturesKey, metric, prompts, classNames, targets, order && [...order]]);
  const predictionFile = join(out, `${name}.json`);
  const known = readScores(out)[name];
  if (known?.fingerprint === fingerprint && existsSync(predictionFile)) {
    reporter.line(`${name}: evaluated before`);
    return { dataset, score: known, predictions: await readPredictions(out, dataset) };
  }

  const cache = join(out, 'cache');
  const classes = await embedClasses(evaluator, classNames, prompts, cache, reporter);
  const partial = join(cache, `${name}.partial`);
  const features = await encodePictures(evaluator, dataset, partial, picturesKey, reporter);
  const probabilities = classProbabilities(features, classes, evaluator.model.config.embed_dim);
  const predictions = { probabilities, classCount: classNames.length, targets };
  const score = scoreOf(predictions, metric, fingerprint);
  writePredictionFile(predictionFile, headerOf(evaluator, name), probabilities, classNames.length, order);
  writeText(join(out, 'scores.json'), JSON.stringify({ ...readScores(out), [name]: score }, null, 2));
  rmSync(partial, { force: true });
  return { dataset, score, predictions };
}

/** Metric and top-1 of predictions, with their bootstrap intervals. */
export function scoreOf(predictions: Predictions, metric: MetricName, fingerprint: string): DatasetScore {
  const measure = prepareMetric(metric, predictions);
  const correct = correctness(predictions);
  const top1 = prepareMetric('accuracy', predictions);
  const intervals = bootstrapIntervals(correct.length, { value: measure, top1: meanOf(correct) });
  return {
    metric,
    value: measure(),
    top1: top1(),
    valueInterval: intervals.value,
    top1Interval: intervals.top1,
    images: correct.length,
    classes: predictions.classCount,
    fingerprint,
  };
}

/** Scores of the datasets that were evaluated in a folder, by name. @throws UserError where they are damaged */
export function readScores(out: string): Record<string, DatasetScore> {
  const path = join(out, 'scores.json');
  if (!existsSync(path)) return {};
  const result = z.record(z.string(), scoreSchema).safeParse(readJson(path, MAX_SCORES_BYTES));
  if (result.success) return result.data;
  throw new UserError(`${path} was not written by this version: name another folder, or delete it`);
}

/** The predictions of a folder's prediction file, in the dataset's order. @throws UserError where it doesn't fit */
export async function readPredictions(out: string, dataset: ClassificationDataset): Promise<Predictions> {
  const { name, classNames, images, targets, submissionOrder } = dataset;
  const classCount = classNames.length;
  const rows = await readProbabilities(join(out, `${name}.json`), images.length, classCount);
  if (submissionOrder === undefined) return { probabilities: rows, classCount, targets };
  const probabilities = new Float32Array(rows.length);
  submissionOrder.forEach((image, row) => {
    probabilities.set(rows.subarray(row * classCount, (row + 1) * classCount), image * classCount);
  });
  return { probabilities, classCount, targets };
}

function headerOf({ model, modelName }: Evaluator, dataset: string) {
  let visual = 0;
  for (const { name, shape } of parameterSpecs(model.config)) {
    if (isVisionParameter(name) && !isBuffer(name)) visual += sizeOf(shape);
  }
  return {
    model_name: modelName,
    dataset_name: dataset,
    num_trainable_params: 0,
    num_params: model.parameterCount,
    num_visual_params: visual,
    num_backbone_params: model.parameterCount,
    n_shot: 0,
    rnd_seeds: [0],
  };
}

/** A picture that changed has another size or time. @throws UserError where it is gone */
function sizeAndTime({ folder }: ClassificationDataset, image: string): number[] {
  const status = statSync(join(folder, image), { throwIfNoEntry: false });
  if (status === undefined) throw new UserError(`${join(folder, image)} does not exist`);
  return [status.size, status.mtimeMs];
}
