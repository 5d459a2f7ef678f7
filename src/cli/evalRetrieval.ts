import { Command } from 'commander';
import { type EvalRetrievalConfig, evalRetrievalSchema } from '../config/evalRetrieval.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { openData } from '../data/mixedDataset.js';
import { UserError } from '../errors.js';
import { recognizeModel, requirePublished } from '../eval/classification/published.js';
import { readFeatures, readTextAnnotation, selectFeatures } from '../eval/files.js';
import { evaluateRetrieval } from '../eval/retrieval.js';
import { retrievalBenchmark } from '../eval/retrievalBenchmarks.js';
import { compareModels, type RetrievalSummary, summarize } from '../eval/retrievalSummary.js';
import { textTable } from '../eval/retrievalTable.js';
import { encodeSplit } from '../eval/split.js';
import { TimeSplit } from '../eval/timeSplit.js';
import { createReporter, type Reporter } from '../io/terminal.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { gatherExamples } from '../report/retrievalExamples.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { openEncoder } from './encoder.js';
import { namesOf } from './names.js';
import {
  type Evaluation,
  folderOf,
  writeEvaluation,
  writeSubmission,
  writeTables,
} from './retrievalOutput.js';
import { planSplits, type SplitPlan } from './retrievalPlan.js';

export function evalRetrievalCommand(): Command {
  const command = new Command('eval-retrieval').option(
    '-c, --config <file>',
    'YAML file with the settings below; flags override it',
  );
  addSettings(command, evalRetrievalSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(evalRetrievalSchema, flags.config as string | undefined, flags);
    const reporter = createReporter();
    requirePublished(config.published);
    const evaluations =
      config.imageFeatures === undefined
        ? await fromModels(config, reporter)
        : await fromFeatures(config, reporter);
    if (evaluations.length === 0) return;
    const summaries = compared(evaluations);
    for (const line of textTable(summaries)) reporter.line(line);
    if (config.out === undefined) return;
    writeTables(config.out, summaries);
    reporter.line(`scores, predictions, tables and report: ${config.out}`);
  });
  return command;
}

/** Evaluates each model on each split. Splits are looked for before the first is evaluated, which may take hours. */
async function fromModels(config: EvalRetrievalConfig, reporter: Reporter): Promise<Evaluation[]> {
  const { model: models, data, out, report } = config;
  if (models === undefined || data === undefined) {
    throw new UserError('give --model and --data, or --image-features, --text-features and --annotations');
  }
  const locations = namesOf(models, '--model');
  const plans = await planSplits(config, data, reporter);
  const isSingle = locations.length * plans.length === 1;
  if (!isSingle && report !== undefined) {
    throw new UserError('--report is of one evaluation: with several, each has its report in --out');
  }
  const evaluations: Evaluation[][] = plans.map(() => []);
  for (const location of locations) {
    const settings = { ...config, config: config.modelConfig, optimizeFor: 'throughput' as const };
    const { model, tokenizer } = await openEncoder(location, settings, reporter.line);
    try {
      const count = model.parameterCount.toLocaleString('en');
      reporter.line(`${location}: ${model.description}, ${count} parameters`);
      for (const [i, plan] of plans.entries()) {
        const folder = isSingle ? out : folderOf(out, plan, location);
        evaluations[i].push(...(await evaluate(location, model, tokenizer, plan, folder, config, reporter)));
      }
    } finally {
      await model.dispose();
    }
  }
  return evaluations.flat();
}

/** Evaluates a model on a split and writes what belongs to it; nothing comes of a split without annotation. */
async function evaluate(
  location: string,
  model: DualEncoder,
  tokenizer: Tokenizer,
  { name, data, split }: SplitPlan,
  folder: string | undefined,
  config: EvalRetrievalConfig,
  reporter: Reporter,
): Promise<Evaluation[]> {
  const dataset = await openData(data, { split, warn: reporter.line });
  try {
    const time = new TimeSplit();
    const features = await encodeSplit(model, dataset, tokenizer, config, reporter, time);
    if (!isAnnotated(features.texts)) {
      await writeSubmission(folder, features, `${name} ${split}`, reporter);
      return [];
    }
    const result = await time.measure('search', () => evaluateRetrieval(features));
    const publishedModel = config.published ?? recognizeModel(model.config);
    const label = { model: location, dataset: name, split, setup: config.setup, publishedModel };
    const summary = await time.measure('statistics', () => summarize(label, result));
    const evaluation = { summary, result };
    reporter.line(time.toString());
    if (folder !== undefined || config.report !== undefined) {
      const examples = await gatherExamples({ ...features, ...result }, dataset);
      writeEvaluation(folder, config.report, evaluation, examples);
    }
    return [evaluation];
  } finally {
    dataset.close();
  }
}

async function fromFeatures(config: EvalRetrievalConfig, reporter: Reporter): Promise<Evaluation[]> {
  const { imageFeatures, textFeatures, annotations, published, setup, dataset, split } = config;
  if (imageFeatures === undefined || textFeatures === undefined || annotations === undefined) {
    throw new UserError(
      '--image-features, --text-features and --annotations belong together: give all three',
    );
  }
  const benchmark = dataset === undefined ? undefined : retrievalBenchmark(dataset);
  const images = readFeatures(imageFeatures, 'image_id');
  const found = readFeatures(textFeatures, 'text_id');
  if (images.dimension !== found.dimension) {
    throw new UserError(
      `${imageFeatures} holds features of width ${images.dimension}, ${textFeatures} of width ${found.dimension}: ` +
        'both must come from one model',
    );
  }
  const texts = readTextAnnotation(annotations);
  const ids = texts.map(({ textId }) => textId);
  const features = {
    imageIds: images.ids,
    imageFeatures: images.features,
    texts,
    textFeatures: selectFeatures(found, ids, textFeatures),
    dimension: images.dimension,
  };
  if (!isAnnotated(texts)) {
    await writeSubmission(config.out, features, annotations, reporter);
    return [];
  }
  const result = await evaluateRetrieval(features);
  const label = {
    model: imageFeatures,
    dataset: dataset ?? annotations,
    split: split ?? benchmark?.split ?? '',
    setup,
    publishedModel: published,
  };
  const evaluation = { summary: summarize(label, result), result };
  writeEvaluation(config.out, config.report, evaluation);
  return [evaluation];
}

function isAnnotated(texts: readonly { imageIds: readonly unknown[] }[]): boolean {
  return texts.some(({ imageIds }) => imageIds.length > 0);
}

/** The summaries, each beside the first model of the same dataset. */
function compared(evaluations: readonly Evaluation[]): RetrievalSummary[] {
  return evaluations.map(({ summary, result }) => {
    const first = evaluations.find((other) => other.summary.dataset === summary.dataset)!;
    if (first.summary === summary) return summary;
    return { ...summary, comparison: compareModels(first.summary.model, first.result, result) };
  });
}
