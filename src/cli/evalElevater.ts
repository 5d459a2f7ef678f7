import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { type EvalElevaterConfig, evalElevaterSchema } from '../config/evalClassification.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { defaultTestStyle } from '../data/emoji.js';
import { buildEmojiClasses } from '../data/emojiClasses.js';
import { UserError } from '../errors.js';
import { benchmarks, elevaterNames } from '../eval/classification/benchmarks.js';
import { type ClassificationDataset, openElevaterDataset } from '../eval/classification/dataset.js';
import { type DatasetEvaluation, evaluateDataset, readPredictions } from '../eval/classification/evaluate.js';
import { correctness } from '../eval/classification/metrics.js';
import { loadPrompts } from '../eval/classification/prompts.js';
import { requirePublished } from '../eval/classification/published.js';
import { writeSubmission } from '../eval/classification/submission.js';
import { type SummaryRow, summaryRow, summaryTable } from '../eval/classification/summary.js';
import { validatePredictions } from '../eval/classification/validate.js';
import { type PairedTest, pairedTests } from '../eval/statistics.js';
import { isFolder } from '../io/fileSystem.js';
import { createReporter, progress, type Reporter } from '../io/terminal.js';
import { type DatasetReport, reportOf, writeClassificationReport } from '../report/classificationReport.js';
import { required, withEvaluator } from './classificationModel.js';
import { namesOf } from './names.js';

/** The dataset that can be built here, and the side of its pictures. */
const EMOJI = 'emoji-cn';
const EMOJI_SIZE = 64;

export function evalElevaterCommand(): Command {
  const command = new Command('eval-elevater');
  return addSettings(command, evalElevaterSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(evalElevaterSchema, undefined, flags);
    const reporter = createReporter();
    if (config.validate === undefined) await evaluate(config, reporter);
    else await validate(config.validate, reporter);
  });
}

async function validate(path: string, reporter: Reporter): Promise<void> {
  const { datasets, problems } = await validatePredictions(path);
  for (const dataset of datasets) reporter.line(dataset);
  if (problems.length > 0) throw new UserError(`${path} is not valid:\n${problems.join('\n')}`);
  reporter.line(`${path} is valid`);
}

async function evaluate(config: EvalElevaterConfig, reporter: Reporter): Promise<void> {
  const data = required(config.data, 'data');
  const out = required(config.out, 'out');
  const names = datasetNames(config.datasets, data);
  const prompts = loadPrompts(config.templates);
  requirePublished(config.published);
  if (names.includes(EMOJI) && !existsSync(join(data, EMOJI))) await buildEmoji(join(data, EMOJI), reporter);
  const { compare: other } = config;
  const lacking = other === undefined ? [] : names.filter((name) => !existsSync(join(other, `${name}.json`)));
  if (lacking.length > 0) {
    throw new UserError(`${other} has no predictions ${lacking[0]}.json to compare with`);
  }
  // All of them before the first is evaluated, which may take hours.
  const datasets = names.map((name) => ({
    dataset: openElevaterDataset(data, name),
    prompts: prompts(name),
  }));
  for (const { dataset } of datasets) warnOfSize(dataset, reporter);

  await withEvaluator(config, reporter, async (evaluator, recognized) => {
    const published = config.published ?? recognized;
    const rows: SummaryRow[] = [];
    const reports: DatasetReport[] = [];
    for (const { dataset, prompts } of datasets) {
      const metric = benchmarks.get(dataset.name)?.metric ?? 'accuracy';
      const result = await evaluateDataset(evaluator, dataset, metric, prompts, reporter);
      rows.push(summaryRow(dataset.name, result.score, published, await compare(result, other)));
      reports.push(await reportOf(result));
    }
    for (const line of summaryTable(rows)) reporter.line(line);
    const official = names.filter((name) => elevaterNames.includes(name));
    const submitted = official.length > 0 ? official : names;
    const files = submitted.map((name) => join(out, `${name}.json`));
    await writeSubmission(join(out, 'all_predictions.zip'), files);
    if (official.length > 0 && official.length < elevaterNames.length) {
      reporter.line(`all_predictions.zip holds ${official.length} of the ${elevaterNames.length} datasets`);
    }
    const report = join(out, 'report.html');
    writeClassificationReport(report, {
      title: `Zero-shot classification: ${evaluator.modelName}`,
      modelName: evaluator.modelName,
      publishedModel: published,
      rows,
      datasets: reports,
    });
    reporter.line(`predictions, scores and report: ${out}`);
  });
}

/** @throws UserError naming what there is, where a dataset isn't there */
function datasetNames(list: string, data: string): string[] {
  const names = list === 'all' ? [...elevaterNames] : namesOf(list, '--datasets');
  if (!isFolder(data) && !names.every((name) => name === EMOJI)) {
    throw new UserError(`${data}: no such folder; expected a folder with one for each dataset`);
  }
  const missing = names.filter((name) => name !== EMOJI && !existsSync(join(data, name)));
  if (missing.length === 0) return names;
  const unknown = missing.filter((name) => !benchmarks.has(name));
  if (unknown.length > 0) {
    throw new UserError(
      `unknown dataset ${unknown.join(', ')}: neither a folder of ${data} nor one of ${[...benchmarks.keys()].join(', ')}`,
    );
  }
  const there = readdirSync(data).filter((name) => benchmarks.has(name));
  throw new UserError(
    `${data} has no folder ${missing.join(', ')}; of the known datasets it has ${there.join(', ') || 'none'}`,
  );
}

async function buildEmoji(directory: string, reporter: Reporter): Promise<void> {
  await buildEmojiClasses(directory, defaultTestStyle, EMOJI_SIZE, progress(reporter, 'Emoji-CN pictures'));
  reporter.end();
}

/** Says where a dataset isn't the one that results are published for. */
function warnOfSize({ name, images, classNames }: ClassificationDataset, reporter: Reporter): void {
  const benchmark = benchmarks.get(name);
  if (benchmark === undefined) return;
  if (images.length === benchmark.images && classNames.length === benchmark.classes) return;
  reporter.line(
    `${name} has ${images.length} pictures of ${classNames.length} classes, the benchmark ${benchmark.images} of ${benchmark.classes}`,
  );
}

/** Tests a result against that of another model on the same dataset, where its folder has one. */
async function compare(
  { dataset, predictions }: DatasetEvaluation,
  other: string | undefined,
): Promise<PairedTest | undefined> {
  if (other === undefined) return undefined;
  const theirs = correctness(await readPredictions(other, dataset));
  return pairedTests({ top1: correctness(predictions) }, { top1: theirs }).top1;
}
