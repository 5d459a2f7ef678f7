import { writeCheckpoint } from '../checkpoint/directory.js';
import type { DataSetting } from '../config/data.js';
import type { RunConfig } from '../config/training.js';
import type { Dataset } from '../data/dataset.js';
import { openData, partsOf } from '../data/mixedDataset.js';
import { UserError } from '../errors.js';
import { type InBatchScores, inBatchScores } from '../eval/inBatch.js';
import type { Recall } from '../eval/retrieval.js';
import { evaluateSplit } from '../eval/split.js';
import type { Reporter } from '../io/terminal.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { bestOf } from './bestMetric.js';
import { checkpointContent, type Stage, type TrainingRun } from './stage.js';

/** What a model reaches on the validation split. */
export interface ValidationResult extends InBatchScores {
  /** exp(logit_scale) */
  logitScale: number;
  /** over the full pool, in percent */
  textToImage: Recall;
  imageToText: Recall;
}

/** One line of validation.jsonl. */
export interface ValidationRecord extends ValidationResult {
  /** of the validation split, or of the other dataset */
  set: 'valid' | 'other';
  stage: 1 | 2;
  /** steps of the stage taken before it */
  step: number;
  epoch: number;
  /** how long it took */
  seconds: number;
}

/** A split that a run is measured on. */
export class Validation {
  private constructor(
    readonly set: ValidationRecord['set'],
    private readonly config: RunConfig,
    readonly dataset: Dataset,
    private readonly tokenizer: Tokenizer,
    private readonly reporter: Reporter,
  ) {}

  /**
   * The validation split, unless validSplit is none, and the other dataset, if there is one.
   *
   * @throws UserError where a split is missing, or has no pairs: none stays open then
   */
  static async open(config: RunConfig, tokenizer: Tokenizer, reporter: Reporter): Promise<Validation[]> {
    const { data, validData, validSplit, otherData, otherSplit } = config;
    const validations: Validation[] = [];
    const add = async (set: ValidationRecord['set'], from: DataSetting, split: string, hint: string) => {
      const dataset = await openData(from, { split, warn: reporter.line }).catch((error: unknown) => {
        if (!(error instanceof UserError)) throw error;
        throw new UserError(`${error.message}\n${hint}`);
      });
      const validation = new Validation(set, config, dataset, tokenizer, reporter);
      validations.push(validation);
      validation.check();
    };
    try {
      if (validSplit !== 'none') {
        if (validData === undefined && partsOf(data).some((part) => part.split !== undefined)) {
          throw new UserError(
            "data says itself which splits to take: say with 'validData' what to validate on",
          );
        }
        const hint = `validSplit is '${validSplit}': 'none' trains without validation`;
        await add('valid', validData ?? data, validSplit, hint);
      }
      if (otherData !== undefined) await add('other', otherData, otherSplit, `otherSplit is '${otherSplit}'`);
    } catch (error) {
      for (const validation of validations) validation.close();
      throw error;
    }
    return validations;
  }

  private check(): void {
    const { location, pairCount } = this.dataset;
    const { validBatchSize } = this.config;
    if (pairCount === 0) {
      throw new UserError(`${location}: no text has an image, so there is nothing to validate on`);
    }
    if (pairCount < validBatchSize) {
      this.reporter.line(
        `warning: ${location} has ${pairCount} pairs, fewer than validBatchSize ${validBatchSize}: ` +
          'pairs repeat in the batch of validation loss and in-batch accuracy; go by recall, or lower validBatchSize',
      );
    }
  }

  /** Validates the model as it is now. */
  async run(model: Model): Promise<ValidationResult> {
    const { config, dataset, tokenizer, reporter } = this;
    const { contextLength, validBatchSize: batchSize, workers } = config;
    // Encoding takes 64 at a time: the batch size is one of comparison, not of memory.
    const options = { contextLength, workers, batchSize: Math.min(batchSize, 64) };
    const evaluation = await evaluateSplit(model, dataset, tokenizer, options, reporter);
    const logitScale = Math.exp(model.weights.get('logit_scale')!.read()[0]);
    const { imageFeatures, textFeatures, textToImage, imageToText } = evaluation;
    const { pairImageRows, pairTextRows } = dataset;
    const inBatch = inBatchScores({
      imageFeatures,
      textFeatures,
      dimension: model.config.embed_dim,
      pairImageRows,
      pairTextRows,
      batchSize,
      logitScale,
    });
    return {
      ...inBatch,
      logitScale,
      textToImage: recallOf(textToImage.scores),
      imageToText: recallOf(imageToText.scores),
    };
  }

  close(): void {
    this.dataset.close();
  }
}

function recallOf({ recallAt1, recallAt5, recallAt10, meanRecall }: Recall): Recall {
  return { recallAt1, recallAt5, recallAt10, meanRecall };
}

/** Where a stage stands among its steps. */
export interface Progress {
  step: number;
  stepsPerEpoch: number;
  totalSteps: number;
}

/**
 * Measures what is due and not done yet, notes it, and keeps the weights that are best so far. The weights come before the
 * note: a run that is killed between the two validates again.
 *
 * @returns whether anything was measured
 */
export async function validateIfDue(run: TrainingRun, stage: Stage, progress: Progress): Promise<boolean> {
  const { validations, config, directory, model, log } = run;
  const { step, stepsPerEpoch, totalSteps } = progress;
  const { number } = stage;
  let isMeasured = false;
  for (const validation of validations) {
    const { set } = validation;
    if (!isDue(set, config, progress)) continue;
    const records = directory.readValidations(set);
    // The end of stage 1 is the beginning of stage 2.
    if (records.some((one) => step === 0 || (one.stage === number && one.step === step))) continue;
    const began = performance.now();
    const result = await validation.run(model);
    const seconds = (performance.now() - began) / 1000;
    const record = { set, stage: number, step, epoch: Math.ceil(step / stepsPerEpoch), ...result, seconds };
    if (set === 'valid' && bestOf([...records, record], config.bestMetric) === record) {
      const content = checkpointContent(run, { stage: number, step, totalSteps }, record.epoch);
      writeCheckpoint(directory.best, content);
    }
    log.validation(stage, record, validation.dataset.location, config.validBatchSize);
    isMeasured = true;
  }
  return isMeasured;
}

function isDue(
  set: ValidationRecord['set'],
  { validEverySteps, validEveryEpochs }: RunConfig,
  { step, stepsPerEpoch, totalSteps }: Progress,
): boolean {
  if (step === 0 || step === totalSteps) return true;
  const every = (interval: number) => interval > 0 && step % interval === 0;
  return set === 'valid' && (every(validEverySteps) || every(validEveryEpochs * stepsPerEpoch));
}

/** Whether a stage has had as many validations without a new best as patience allows. Reads all that were noted. */
export function isExhausted({ config, directory }: TrainingRun, stage: Stage): boolean {
  const { patience, bestMetric } = config;
  if (patience === 0) return false;
  const records = directory
    .readValidations('valid')
    .filter((one) => one.stage === stage.number && one.step > 0);
  const best = bestOf(records, bestMetric);
  return best !== undefined && records.length - 1 - records.indexOf(best) >= patience;
}
