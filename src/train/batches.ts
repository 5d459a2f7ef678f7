import type { Batch, BatchLoader } from '../data/loader.js';
import { gatherRows } from '../rows.js';
import type { TrainingBatch } from './batch.js';

/** Share of an epoch's pairs that repeat a text or an image of their batch above which one should know a way out. */
const MANY_REPEATED = 0.01;

/** Share of an epoch's texts that lose their end above which one should know it. */
const MANY_CUT = 0.01;

/** Image features of all pictures of the data, a row for each: of the model in place of pixels, of a teacher beside them. */
export type CachedFeatures = Pick<TrainingBatch, 'imageFeatures' | 'teacherFeatures'>;

export interface EpochOptions {
  /** steps of the stage in all */
  totalSteps: number;
  contextLength: number;
  uniqueCaptions: boolean;
  /** steps of the stage that are taken already */
  stepCount: number;
  features: CachedFeatures;
  /** told at the end of each epoch what was in it */
  report: (line: string) => void;
}

/** A batch as the trainer takes it, and as the loader gave it. */
export interface Step {
  batch: TrainingBatch;
  loaded: Batch;
  /** from 0 */
  epoch: number;
}

/** The batches that remain of a stage, epoch after epoch, with those features that are cached. */
export async function* trainingBatches(loader: BatchLoader, options: EpochOptions): AsyncGenerator<Step> {
  const { totalSteps, stepCount, features, report } = options;
  const { batchesPerEpoch } = loader;
  let advised = options.uniqueCaptions;
  let cutsTold = false;
  let skipped = stepCount % batchesPerEpoch;
  let remaining = totalSteps - stepCount;
  for (let epoch = Math.floor(stepCount / batchesPerEpoch); remaining > 0; epoch++) {
    const sums = { pairs: 0, cutTexts: 0, repeatedPairs: 0, replacedPairs: 0 };
    for await (const loaded of loader.batches(epoch, skipped)) {
      const { n, length, ids, pixels, teacherPixels, imageRows } = loaded;
      const batch: TrainingBatch = { n, length, ids, pixels, teacherPixels };
      for (const [name, all] of Object.entries(features) as [keyof CachedFeatures, Float32Array][]) {
        batch[name] = gatherRows(all, imageRows, all.length / loader.dataset.imageCount);
      }
      sums.pairs += n;
      for (const name of ['cutTexts', 'repeatedPairs', 'replacedPairs'] as const) sums[name] += loaded[name];
      yield { batch, loaded, epoch };
      if (--remaining === 0) break;
    }
    skipped = 0;
    report(epochLine(epoch + 1, sums, options.contextLength));
    if (!advised && sums.repeatedPairs > MANY_REPEATED * sums.pairs) {
      report(ADVICE);
      advised = true;
    }
    if (!cutsTold && sums.cutTexts > MANY_CUT * sums.pairs) {
      report(
        `warning: more than 1 % of the texts lose their end: raise contextLength (${options.contextLength}), or shorten them`,
      );
      cutsTold = true;
    }
  }
}

type Sums = Record<'pairs' | 'cutTexts' | 'repeatedPairs' | 'replacedPairs', number>;

/** What was in an epoch, or in what of it remained when the run was resumed. */
function epochLine(
  epoch: number,
  { pairs, cutTexts, repeatedPairs, replacedPairs }: Sums,
  contextLength: number,
): string {
  const share = (count: number) => `${count} of ${pairs} (${((100 * count) / pairs).toFixed(2)} %)`;
  const parts = [
    `${share(repeatedPairs)} pairs repeat a text or an image of their batch`,
    `${share(cutTexts)} texts were cut to contextLength ${contextLength}`,
  ];
  if (replacedPairs > 0) parts.push(`${share(replacedPairs)} pairs stand in for broken pictures`);
  return `epoch ${epoch}: ${parts.join(', ')}`;
}

const ADVICE =
  'warning: more than 1 % of the pairs repeat a text or an image of their batch. They belong together but are ' +
  'trained apart: set uniqueCaptions: true';
