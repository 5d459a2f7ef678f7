import { writeCheckpoint } from '../checkpoint/directory.js';
import { openCheckpoint } from '../checkpoint/open.js';
import { UserError } from '../errors.js';
import { encodeImages } from '../eval/encode.js';
import type { Model } from '../model/model.js';
import { type CachedFeatures, trainingBatches } from './batches.js';
import { isCached, teacherFeatures } from './featureCache.js';
import { ChanceLossGuard } from './guards.js';
import type { Position, StepMetrics } from './runDirectory.js';
import {
  checkpointContent,
  type Stage,
  seedOf,
  stepCount,
  type TrainingRun,
  trainingLoader,
} from './stage.js';
import { changedFactors, openTeacher, teacherConfig } from './start.js';
import { createTrainer, type Trainer } from './trainer.js';
import { isExhausted, type Progress, validateIfDue } from './validation.js';

/**
 * Runs one stage to its end. The model holds the weights of the run's newest checkpoint, if it has one: those of this
 * stage, or of the end of the stage before.
 *
 * @returns false if it was stopped
 * @throws UserError for data that does not fit, or a loss that is no number
 */
export async function runStage(stage: Stage, run: TrainingRun): Promise<boolean> {
  const { config, dataset, model, directory, log, reporter, shouldStop } = run;
  const { settings, number, name, prefix } = stage;
  const hasLaterCheckpoint = number === 1 && directory.latest(2) !== undefined;
  if (hasLaterCheckpoint) return true;

  // With features of a locked tower no pixels are decoded any more.
  const cacheFeatures = settings.freezeVision && isCached(settings, dataset, model.config);
  const taught = teacherConfig(settings);
  const cacheTeacher = taught !== undefined && isCached(settings, dataset, taught);
  const loader = trainingLoader(run, stage, {
    pixels: !cacheFeatures,
    teacherResolution: cacheTeacher ? undefined : taught?.image_resolution,
    report: log.note,
  });
  let trainer: Trainer | undefined;
  let teacher: Model | undefined;
  try {
    const stepsPerEpoch = loader.batchesPerEpoch;
    const totalSteps = stepCount(stage, stepsPerEpoch);
    if (settings.warmupSteps >= totalSteps) {
      reporter.line(
        `${name} never leaves its warm-up: ${settings.warmupSteps} steps of it, ${totalSteps} in all`,
      );
    }
    const resumed = directory.latest(number);
    const before = resumed?.position.step ?? 0;
    if (resumed !== undefined && before > totalSteps) {
      throw new UserError(
        `${resumed.path} stands after step ${before}, ${name} has only ${totalSteps}: ` +
          `raise ${prefix}epochs, or give it as the weights to start anew from`,
      );
    }
    const progressAt = (step: number): Progress => ({ step, stepsPerEpoch, totalSteps });
    directory.cut({ stage: number, step: before, totalSteps });
    // What was saved may have been killed before it was validated.
    await validateIfDue(run, stage, progressAt(before));
    if (before === totalSteps || isExhausted(run, stage)) {
      await finish(run, stage, progressAt(before));
      return true;
    }

    teacher = await openTeacher(config, settings, reporter);
    const seed = seedOf(run, stage);
    trainer = await createTrainer(model, { ...settings, totalSteps, seed, teacher });
    directory.noteParameters(name, { trained: trainer.trainableCount, all: model.parameterCount });
    if (resumed !== undefined) {
      const training = openCheckpoint(resumed.path).training();
      const isOrigin = resumed.path === config.resume;
      if (!(isOrigin && config.resetOptimizer)) trainer.restore(training, resumed.path);
      trainer.stepCount = before;
      const changes = changedFactors(training, trainer.options);
      if (changes.length > 0) reporter.line(`AdamW goes on with ${changes.join(', ')}`);
      reporter.line(`resuming ${name} after step ${before} of ${totalSteps}: ${resumed.path}`);
    }
    const features: CachedFeatures = {};
    if (cacheFeatures) features.imageFeatures = await encodeImages(model, loader, reporter);
    if (teacher !== undefined && cacheTeacher) {
      features.teacherFeatures = await teacherFeatures(run, stage, teacher, loader);
    }

    reporter.begin(name, totalSteps, before);
    const guard = new ChanceLossGuard(settings);
    const batches = trainingBatches(loader, {
      totalSteps,
      contextLength: config.contextLength,
      uniqueCaptions: config.uniqueCaptions,
      stepCount: before,
      features,
      report: log.note,
    });
    for await (const { batch, loaded, epoch } of batches) {
      const began = performance.now();
      const result = await trainer.step(batch);
      const step = trainer.stepCount;
      const batchTime = loaded.waitSeconds + (performance.now() - began) / 1000;
      const metrics: StepMetrics = {
        stage: number,
        step,
        epoch: epoch + 1,
        ...result,
        samplesPerSecond: batch.n / batchTime,
        dataTime: loaded.waitSeconds,
        batchTime,
        cutTexts: loaded.cutTexts,
        repeatedPairs: loaded.repeatedPairs,
        replacedPairs: loaded.replacedPairs,
      };
      if (!Number.isFinite(result.loss)) {
        throw new UserError(
          `the loss became ${result.loss} at step ${step} of ${name}: lower ${prefix}learningRate ` +
            `(${settings.learningRate}) or lengthen the warm-up; checkpoints before it are in ${directory.checkpoints}`,
        );
      }
      log.step(stage, metrics, progressAt(step));
      const warning = guard.warn(step, result.loss);
      if (warning !== undefined) log.note(warning);
      reporter.advance(step);
      const stopping = shouldStop();
      const isSaved = step % config.saveEverySteps === 0 || step === totalSteps || stopping;
      const position = { stage: number, step, totalSteps };
      if (isSaved) save(run, trainer, position, epoch + 1);
      if (stopping && step < totalSteps) {
        reporter.end();
        reporter.line(`stopped after step ${step} of ${name}; run the same command to go on`);
        return false;
      }
      const isMeasured = await validateIfDue(run, stage, progressAt(step));
      if (isMeasured && step < totalSteps && isExhausted(run, stage)) {
        if (!isSaved) save(run, trainer, position, epoch + 1);
        log.note(
          `${name} ends after step ${step} of ${totalSteps}: ${config.patience} validations without a new best ${config.bestMetric}`,
        );
        break;
      }
    }
    reporter.end();
    if (loader.brokenImages > 0) log.note(`${name} did without ${loader.brokenImages} broken pictures`);
    await finish(run, stage, progressAt(trainer.stepCount));
    return true;
  } finally {
    await loader.close();
    await trainer?.dispose();
    await teacher?.dispose();
  }
}

function save(run: TrainingRun, trainer: Trainer, position: Position, epoch: number): void {
  const { directory, config } = run;
  const content = checkpointContent(run, position, epoch);
  writeCheckpoint(directory.checkpointPath(position), {
    ...content,
    training: {
      ...content.training!,
      optimizer: trainer.optimizerState,
      adapters: trainer.adapterTensors,
    },
  });
  directory.rotate(config.keepCheckpoints);
}

/** Writes the finished model, unless the run had come that far before it was interrupted, and measures it. */
async function finish(run: TrainingRun, stage: Stage, progress: Progress): Promise<void> {
  const { directory, reporter } = run;
  const { step, stepsPerEpoch, totalSteps } = progress;
  const position = { stage: stage.number, step, totalSteps };
  // Where patience ended it, this is the last step.
  await validateIfDue(run, stage, { ...progress, totalSteps: step });
  if (directory.finished()?.stage !== stage.number) {
    writeCheckpoint(directory.model, checkpointContent(run, position, Math.ceil(step / stepsPerEpoch)));
  }
  reporter.line(`${stage.name} is complete: ${directory.model}`);
}
