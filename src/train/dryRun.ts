import { stringify } from 'yaml';
import type { Dataset } from '../data/dataset.js';
import { UserError } from '../errors.js';
import { memoryThere } from '../io/memory.js';
import type { Model } from '../model/model.js';
import { prepareText, type Tokenizer } from '../text/tokenizer.js';
import { trainingBatches } from './batches.js';
import { gigabytes } from './guards.js';
import { estimateMemory } from './memory.js';
import { type Stage, stepCount, type TrainingRun, trainingLoader } from './stage.js';
import { openTeacher, teacherConfig } from './start.js';
import { createTrainer, type Trainer } from './trainer.js';

/** Texts whose tokens are counted. */
const COUNTED_TEXTS = 20_000;
/** Steps on the one batch that is overfitted. */
const OVERFIT_STEPS = 12;

type DryRun = Pick<TrainingRun, 'config' | 'dataset' | 'model' | 'tokenizer' | 'reporter'>;

/**
 * Tells what a run would do and tries each stage on its first batch, without dropout and schedule: settings, token
 * statistics, parameters, steps, memory, and whether the loss falls. Nothing is written.
 */
export async function dryRun(
  run: DryRun,
  stages: readonly Stage[],
  settings: Record<string, unknown>,
): Promise<void> {
  const { config, dataset, tokenizer, reporter } = run;
  for (const line of stringify(settings).trimEnd().split('\n')) reporter.line(line);
  reporter.line(tokenStatistics(dataset, tokenizer, config.contextLength));
  for (const stage of stages) await tryStage(run, stage);
  reporter.line('dry run: nothing was written');
}

async function tryStage(run: DryRun, stage: Stage): Promise<void> {
  const { config, model, reporter } = run;
  const { name, settings } = stage;
  const teacherResolution = teacherConfig(settings)?.image_resolution;
  const loader = trainingLoader(run, stage, { pixels: true, teacherResolution, report: reporter.line });
  const totalSteps = stepCount(stage, loader.batchesPerEpoch);
  const memory = estimateMemory(model.config, settings, config);
  let teacher: Model | undefined;
  let trainer: Trainer | undefined;
  try {
    teacher = await openTeacher(config, settings, reporter);
    trainer = await createTrainer(model, {
      ...settings,
      schedule: 'none',
      dropout: false,
      totalSteps: OVERFIT_STEPS,
      teacher,
    });
    const share = (100 * trainer.trainableCount) / model.parameterCount;
    const count = (value: number) => value.toLocaleString('en');
    reporter.line(
      `${name}: ${count(trainer.trainableCount)} values are trained, ${share.toFixed(2)} % of the model's ${count(model.parameterCount)}; ` +
        `${count(model.parameterCount - (settings.lora.rank === 0 ? trainer.trainableCount : 0))} are frozen`,
    );
    reporter.line(`${name}: ${totalSteps} steps, ${loader.batchesPerEpoch} an epoch`);
    reporter.line(
      `${name}: about ${gigabytes(memory.total)} of memory, ${gigabytes(memory.states)} for weights, gradients and AdamW, ` +
        `${gigabytes(memory.activations)} for a step, ${gigabytes(memory.pixels)} for pictures; there are ${gigabytes(memoryThere())}`,
    );
    const batches = trainingBatches(loader, {
      totalSteps: 1,
      contextLength: config.contextLength,
      uniqueCaptions: true,
      stepCount: 0,
      features: {},
      report: () => {},
    });
    for await (const { batch } of batches) {
      const losses: number[] = [];
      for (let i = 0; i < OVERFIT_STEPS; i++) losses.push((await trainer.step(batch)).loss);
      const [first, last] = [losses[0], losses[OVERFIT_STEPS - 1]];
      const said = `${name}: ${OVERFIT_STEPS} steps on one batch, loss ${first.toFixed(4)} → ${last.toFixed(4)}`;
      if (!(last < first)) {
        throw new UserError(`${said}: it does not fall; lower the learning rate (${settings.learningRate})`);
      }
      reporter.line(said);
    }
  } finally {
    await loader.close();
    await trainer?.dispose();
    await teacher?.dispose();
  }
}

/** Token counts of the first texts, [CLS] and [SEP] included. */
function tokenStatistics(dataset: Dataset, tokenizer: Tokenizer, contextLength: number): string {
  const lengths: number[] = [];
  let cut = 0;
  for (const { text } of dataset.texts()) {
    const encoded = tokenizer.encodeBatch([prepareText(text)], contextLength);
    lengths.push(encoded.length);
    cut += encoded.cut;
    if (lengths.length === COUNTED_TEXTS) break;
  }
  lengths.sort((a, b) => a - b);
  const at = (share: number) => lengths[Math.min(lengths.length - 1, Math.floor(share * lengths.length))];
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  return (
    `tokens of ${lengths.length} texts: mean ${mean.toFixed(1)}, median ${at(0.5)}, 95 % at most ${at(0.95)}, longest ${at(1)}; ` +
    `${cut} are cut to contextLength ${contextLength}`
  );
}
