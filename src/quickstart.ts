import { join } from 'node:path';
import { resolveSettings } from './config/options.js';
import { pretrainSchema } from './config/pretrain.js';
import { type Dataset, openDataset } from './data/dataset.js';
import { ensureEmojiDataset } from './data/emoji.js';
import { evaluateSplit, type SplitEvaluation } from './eval/split.js';
import { packageRoot } from './io/packageRoot.js';
import type { Reporter } from './io/terminal.js';
import { loadModel } from './model/load.js';
import type { Model } from './model/model.js';
import { isVisionParameter } from './model/parameters.js';
import { Random } from './random.js';
import { type PretrainReport, writePretrainReport } from './report/pretrainReport.js';
import { settingRows } from './report/settings.js';
import { sizeOf } from './shape.js';
import { loadTokenizer } from './text/tokenizer.js';
import { pretrain } from './train/pretrain.js';
import { RunDirectory } from './train/runDirectory.js';

/** Queries that the report shows. */
const SHOWN_QUERIES = 20;

/**
 * The main job on embedded data: builds Emoji-CN, pretrains a small model in both stages, evaluates it on an art
 * style it never saw, and writes an HTML report. What is there already is not done again.
 *
 * @param output folder for data, run and report
 * @returns the report's path and the evaluation, or undefined if `shouldStop` ended training early
 */
export async function quickstart(
  output: string,
  configFile: string,
  reporter: Reporter,
  shouldStop: () => boolean,
): Promise<{ report: string; evaluation: SplitEvaluation } | undefined> {
  const data = join(output, 'data');
  const run = new RunDirectory(join(output, 'run'));
  const config = resolveSettings(pretrainSchema, configFile, { data, output: run.path });
  await ensureEmojiDataset(data, reporter);

  const directory = await pretrain(config, { stages: [1, 2], reporter, shouldStop });
  if (directory === undefined) return undefined;

  const model = await loadModel(directory, {
    engine: config.engine,
    provider: config.provider,
    providerOptions: config.providerOptions,
    warn: reporter.line,
  });
  const dataset = await openDataset(data, { split: 'test', warn: reporter.line });
  try {
    const tokenizer = await loadTokenizer(directory);
    const { contextLength, workers } = config;
    const options = { contextLength, workers, batchSize: 64 };
    const evaluation = await evaluateSplit(model, dataset, tokenizer, options, reporter);
    const report = join(output, 'report.html');
    writePretrainReport(report, {
      title: 'cn-clip quickstart: Emoji-CN',
      summary:
        'A small Chinese CLIP, pretrained from nothing on three art styles of emoji and tested on a fourth that it never saw.',
      configuration: settingRows(config),
      parameterCounts: parameterCounts(model),
      stages: ([1, 2] as const).map((stage) => ({
        name: `stage ${stage}`,
        metrics: run.readMetrics().filter((line) => line.stage === stage),
      })),
      recall: [
        { direction: 'text → image', scores: evaluation.textToImage.scores },
        { direction: 'image → text', scores: evaluation.imageToText.scores },
      ],
      queries: await sampleQueries(evaluation, dataset),
    });
    return { report, evaluation };
  } finally {
    dataset.close();
    await model.dispose();
  }
}

/** The recipe of the quickstart. */
export const quickstartConfig = join(packageRoot, 'configs', 'pretrain', 'emoji.yaml');

/** Captions drawn at random with the pictures that the model ranks first for them. */
async function sampleQueries(
  { texts, imageIds, textToImage }: SplitEvaluation,
  dataset: Dataset,
): Promise<PretrainReport['queries']> {
  const shuffled = new Random(0, 'report queries').shuffle(Int32Array.from(texts.keys()));
  const rowOf = new Map(imageIds.map((id, row) => [id, row]));
  const rows = shuffled.subarray(0, SHOWN_QUERIES);
  const shown = Array.from(rows, async (query) => {
    const results = textToImage.predictions[query].candidateIds.map(async (id) => ({
      id: String(id),
      image: (await dataset.image(rowOf.get(id)!)).bytes,
      correct: texts[query].imageIds.includes(id),
    }));
    return {
      text: texts[query].text,
      rankOfTrue: textToImage.ranks[query],
      results: await Promise.all(results),
    };
  });
  return Promise.all(shown);
}

function parameterCounts(model: Model): { name: string; count: number }[] {
  const counts = { 'image tower': 0, 'text tower': 0 };
  for (const [name, { shape }] of model.weights) {
    counts[isVisionParameter(name) ? 'image tower' : 'text tower'] += sizeOf(shape);
  }
  return Object.entries(counts).map(([name, count]) => ({ name, count }));
}
