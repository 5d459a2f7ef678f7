import { basename, join, resolve } from 'node:path';
import { type CheckpointContent, writeCheckpoint } from '../checkpoint/directory.js';
import { openCheckpoint } from '../checkpoint/open.js';
import type { DataPart } from '../config/data.js';
import { operationalSettings, type PretrainConfig, type StageConfig } from '../config/pretrain.js';
import type { Dataset } from '../data/dataset.js';
import { BatchLoader } from '../data/loader.js';
import { openData, partsOf } from '../data/mixedDataset.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { encodeImages } from '../eval/encode.js';
import type { Reporter } from '../io/terminal.js';
import { loadModelConfig, requireFit } from '../model/config.js';
import { allocateModel, createModel, readWeightsInto } from '../model/load.js';
import type { Model } from '../model/model.js';
import { Tokenizer } from '../text/tokenizer.js';
import { logLine } from './logLine.js';
import { type Position, RunDirectory, type StepMetrics } from './runDirectory.js';
import { changedFactors, dataFolder, initializeTowers, openOrigin, requireOneStart } from './start.js';
import { createTrainer, type Trainer } from './trainer.js';

export interface PretrainOptions {
  /** the stages to run, in order */
  stages: readonly (1 | 2)[];
  reporter: Reporter;
  /** asked after every step: the run then saves a checkpoint and ends */
  shouldStop: () => boolean;
}

/**
 * Pretrains in two stages, as the paper does: first locked-image tuning, the image tower frozen, then all parameters.
 * A run that was interrupted is taken up at its newest checkpoint and ends with the weights it would have had.
 *
 * @returns the folder of the finished model, or undefined if `shouldStop` ended the run early
 * @throws UserError for settings, data or weights that do not fit
 */
export async function pretrain(
  config: PretrainConfig,
  options: PretrainOptions,
): Promise<string | undefined> {
  const { reporter } = options;
  const running = options.stages.filter((stage) => settingsOf(config, stage).epochs > 0);
  if (running.length === 0) throw new UserError('nothing to train: epochs is 0 in every stage');
  const dataset = await openData(config.data, { split: config.split, warn: reporter.line });
  reporter.line(`${dataset.location}: ${dataset.pairCount} pairs, ${dataset.imageCount} images`);
  const tokenizer = Tokenizer.fromFile(config.vocabulary ?? join(dataFolder(config.data), 'vocab.txt'));
  const modelConfig = loadModelConfig(config.model, { vocabSize: tokenizer.vocabularySize });
  requireFit(tokenizer, modelConfig, config.contextLength);
  requireOneStart(config);
  const origin = config.resume === undefined ? undefined : openOrigin(config.resume, running);
  const run = new RunDirectory(config.output, origin);
  const outcome = outcomeSettings(config);
  run.check(outcome);
  const engine = await createEngine(config.engine, config.provider, reporter.line);
  const start = run.latest()?.path ?? config.weights;
  const model =
    start === undefined ? createModel(modelConfig, engine, config.seed) : allocateModel(modelConfig, engine);
  if (start !== undefined) readWeightsInto(model, start, reporter.line);
  if (start === undefined) initializeTowers(model, config, reporter);
  // Only now: what was wrong so far has left no folder behind.
  run.open(outcome);
  reporter.line(`${engine.description}, ${model.parameterCount.toLocaleString('en')} parameters`);
  try {
    for (const stage of options.stages) {
      const done = await runStage(stage, { config, dataset, model, tokenizer, run, ...options });
      if (!done) return undefined;
    }
  } finally {
    await model.dispose();
    dataset.close();
  }
  return run.model;
}

/** Bytes of cached image features above which a locked tower computes them anew in every step. */
const MAX_CACHED_BYTES = 2 ** 31;

function featureBytes(model: Model, dataset: Dataset): number {
  return dataset.imageCount * model.config.embed_dim * 4;
}

interface StageContext extends PretrainOptions {
  config: PretrainConfig;
  dataset: Dataset;
  model: Model;
  tokenizer: Tokenizer;
  run: RunDirectory;
}

function settingsOf(config: PretrainConfig, stage: 1 | 2): StageConfig {
  return stage === 1 ? config.stage1 : config.stage2;
}

/**
 * Runs one stage to its end. The model holds the weights of the run's newest checkpoint, if it has one: those of this
 * stage, or of the end of the stage before.
 *
 * @returns false if it was stopped
 */
async function runStage(stage: 1 | 2, context: StageContext): Promise<boolean> {
  const { config, model, tokenizer, run, reporter, shouldStop } = context;
  const settings = settingsOf(config, stage);
  if (settings.epochs === 0) return true;
  const later = stage === 1 ? run.latest(2) : undefined;
  if (later !== undefined) return true;

  const freezeVision = stage === 1;
  // Nothing changes a locked tower's input, so its features are computed once; no pixels are decoded after that.
  const cacheFeatures = freezeVision && featureBytes(model, context.dataset) <= MAX_CACHED_BYTES;
  const seed = config.seed * 2 + stage;
  const loader = new BatchLoader({
    dataset: context.dataset,
    tokenizer,
    resolution: model.config.image_resolution,
    contextLength: config.contextLength,
    batchSize: settings.batchSize,
    seed,
    shuffle: true,
    workers: config.workers,
    readAhead: config.readAhead,
    pixels: !cacheFeatures,
  });
  let trainer: Trainer | undefined;
  try {
    const stepsPerEpoch = loader.batchesPerEpoch;
    const totalSteps = settings.epochs * stepsPerEpoch;
    const resumed = run.latest(stage);
    const given = config.weights ?? config.init.vision ?? config.init.text;
    if (stage === 2 && run.latest() === undefined && given === undefined) {
      reporter.line('stage 2 starts from random weights: there is no checkpoint of stage 1 here');
    }
    if (settings.warmupSteps >= totalSteps) {
      reporter.line(
        `stage ${stage} never leaves its warm-up: ${settings.warmupSteps} steps of it, ${totalSteps} in all`,
      );
    }
    if (resumed !== undefined && resumed.position.step > totalSteps) {
      throw new UserError(
        `${resumed.path} stands after step ${resumed.position.step}, stage ${stage} has only ${totalSteps}: ` +
          `raise stage${stage}.epochs, or give it as 'weights' to start anew from them`,
      );
    }
    if (resumed?.position.step === totalSteps) {
      finish(context, { stage, step: totalSteps, totalSteps });
      return true;
    }

    trainer = await createTrainer(model, {
      ...settings,
      totalSteps,
      freezeVision,
      seed,
    });
    if (resumed !== undefined) {
      const training = openCheckpoint(resumed.path).training();
      trainer.restore(training, resumed.path);
      const changes = changedFactors(training, settings);
      if (changes.length > 0) reporter.line(`AdamW goes on with ${changes.join(', ')}`);
      reporter.line(
        `resuming stage ${stage} after step ${trainer.stepCount} of ${totalSteps}: ${resumed.path}`,
      );
    }
    run.cutMetrics({ stage, step: trainer.stepCount, totalSteps });
    const features = cacheFeatures ? await encodeImages(model, loader, reporter) : undefined;

    reporter.begin(`stage ${stage}`, totalSteps, trainer.stepCount);
    for await (const { batch, epoch, dataTime } of trainingBatches(
      loader,
      features,
      model,
      trainer,
      settings,
    )) {
      const began = performance.now();
      const result = await trainer.step(batch);
      const step = trainer.stepCount;
      const batchTime = dataTime + (performance.now() - began) / 1000;
      const metrics: StepMetrics = {
        stage,
        step,
        epoch: epoch + 1,
        ...result,
        samplesPerSecond: batch.n / batchTime,
        dataTime,
        batchTime,
      };
      if (!Number.isFinite(result.loss)) {
        throw new UserError(
          `the loss became ${result.loss} at step ${step} of stage ${stage}: lower stage${stage}.learningRate ` +
            `(${settings.learningRate}) or lengthen the warm-up; checkpoints before it are in ${run.checkpoints}`,
        );
      }
      run.appendMetrics(metrics);
      if (step % config.logEverySteps === 0 || step === totalSteps) {
        const line = logLine(metrics, { totalSteps, stepsPerEpoch, batchSize: settings.batchSize });
        run.appendLog(line);
        reporter.line(line);
      }
      reporter.advance(step);
      const stopping = shouldStop();
      if (step % config.saveEverySteps === 0 || step === totalSteps || stopping) {
        save(context, trainer, { stage, step, totalSteps });
      }
      if (stopping && step < totalSteps) {
        reporter.end();
        reporter.line(`stopped after step ${step} of stage ${stage}; run the same command to go on`);
        return false;
      }
    }
    reporter.end();
    const { cutTexts, samples } = loader.statistics;
    if (cutTexts > 0) {
      reporter.line(`${cutTexts} of ${samples} texts were cut to contextLength ${config.contextLength}`);
    }
    finish(context, { stage, step: totalSteps, totalSteps });
    return true;
  } finally {
    await loader.close();
    await trainer?.dispose();
  }
}

/** The batches that remain of a stage, epoch after epoch, with cached image features in place of pixels if given. */
async function* trainingBatches(
  loader: BatchLoader,
  features: Float32Array | undefined,
  model: Model,
  trainer: Trainer,
  settings: StageConfig,
) {
  const { embed_dim: width } = model.config;
  const firstEpoch = Math.floor(trainer.stepCount / loader.batchesPerEpoch);
  let skipped = trainer.stepCount % loader.batchesPerEpoch;
  for (let epoch = firstEpoch; epoch < settings.epochs; epoch++) {
    for await (const { n, length, ids, pixels, imageRows, waitSeconds } of loader.batches(epoch, skipped)) {
      let imageFeatures: Float32Array | undefined;
      if (features !== undefined) {
        imageFeatures = new Float32Array(n * width);
        for (const [i, row] of imageRows.entries()) {
          imageFeatures.set(features.subarray(row * width, (row + 1) * width), i * width);
        }
      }
      yield { batch: { n, length, ids, pixels, imageFeatures }, epoch, dataTime: waitSeconds };
    }
    skipped = 0;
  }
}

function save(context: StageContext, trainer: Trainer, position: Position): void {
  const { run, config } = context;
  const content = checkpointContent(context, position);
  writeCheckpoint(run.checkpointPath(position), {
    ...content,
    training: { ...content.training, optimizer: trainer.optimizerState },
  });
  run.rotate(config.keepCheckpoints);
}

/** Writes the finished model, unless the run had come that far before it was interrupted. */
function finish(context: StageContext, position: Position): void {
  const { run, reporter } = context;
  if (run.finished()?.stage !== position.stage) {
    writeCheckpoint(run.model, checkpointContent(context, position));
  }
  reporter.line(`stage ${position.stage} is complete: ${run.model}`);
}

/** A checkpoint at a position, without the optimizer. */
function checkpointContent({ config, model, tokenizer, run }: StageContext, position: Position) {
  const { step, totalSteps, stage } = position;
  const epoch = Math.ceil((step * settingsOf(config, stage).epochs) / totalSteps);
  return {
    weights: model.tensors,
    config: model.config,
    vocabulary: tokenizer.vocabulary,
    training: { epoch, step, name: basename(run.path) },
    run: position,
  } satisfies CheckpointContent;
}

/** The settings that the outcome depends on; a folder is the same one however it is written. */
function outcomeSettings(config: PretrainConfig): Record<string, unknown> {
  const operational = new Set<string>(operationalSettings);
  const absolute = (path: string | undefined) => (path === undefined ? undefined : resolve(path));
  const { data, vocabulary, weights, resume, init } = config;
  const withAbsolutePath = (part: DataPart) => ({ ...part, path: resolve(part.path) });
  const outcome = {
    ...config,
    data: typeof data === 'string' ? resolve(data) : partsOf(data).map(withAbsolutePath),
    vocabulary: absolute(vocabulary),
    weights: absolute(weights),
    resume: absolute(resume),
    init: { vision: absolute(init.vision), text: absolute(init.text) },
  };
  return Object.fromEntries(
    Object.entries(outcome).filter(([name, value]) => value !== undefined && !operational.has(name)),
  );
}
