import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { vocabularyOf } from '../checkpoint/open.js';
import { type EvalRetrievalConfig, evalRetrievalSchema } from '../config/evalRetrieval.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { openData } from '../data/mixedDataset.js';
import { UserError } from '../errors.js';
import {
  readFeatures,
  readTextAnnotation,
  selectFeatures,
  writePredictions,
  writeScores,
} from '../eval/files.js';
import { type DirectionResult, evaluateRetrieval } from '../eval/retrieval.js';
import { evaluateSplit } from '../eval/split.js';
import { createReporter, type Reporter } from '../io/terminal.js';
import { requireFit } from '../model/config.js';
import { loadModel } from '../model/load.js';
import { loadTokenizer } from '../text/tokenizer.js';

export interface RetrievalResult {
  textToImage: DirectionResult;
  imageToText: DirectionResult;
}

export function evalRetrievalCommand(): Command {
  const command = new Command('eval-retrieval')
    .description('text→image and image→text recall over the full pool, from a model or from feature files')
    .option('-c, --config <file>', 'YAML file with the settings below; flags override it');
  addSettings(command, evalRetrievalSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(evalRetrievalSchema, flags.config as string | undefined, flags);
    const reporter = createReporter();
    const result =
      config.imageFeatures === undefined ? await fromModel(config, reporter) : await fromFeatures(config);
    for (const line of scoreTable(result)) reporter.line(line);
    if (config.output !== undefined) writeResult(config.output, result, reporter);
  });
  return command;
}

/** Recall beside chance, as lines of a table. */
export function scoreTable({ textToImage, imageToText }: RetrievalResult): string[] {
  const row = (cells: string[]) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(14) : cell.padStart(9))).join('');
  const rows = [row(['', 'R@1', 'R@5', 'R@10', 'mean', 'pool', 'queries'])];
  for (const [name, { scores }] of [
    ['text→image', textToImage],
    ['image→text', imageToText],
  ] as const) {
    const numbers = ({
      recallAt1,
      recallAt5,
      recallAt10,
      meanRecall,
    }: typeof scores | typeof scores.chance) =>
      [recallAt1, recallAt5, recallAt10, meanRecall].map((value) => value.toFixed(2));
    rows.push(row([name, ...numbers(scores), String(scores.poolSize), String(scores.queryCount)]));
    rows.push(row(['  by chance', ...numbers(scores.chance)]));
  }
  return rows;
}

async function fromModel(config: EvalRetrievalConfig, reporter: Reporter): Promise<RetrievalResult> {
  const { model: weights, data, vocabulary, engine, provider } = config;
  if (weights === undefined || data === undefined) {
    throw new UserError('give --model and --data, or --image-features, --text-features and --texts');
  }
  const tokenizer = await loadTokenizer(vocabulary ?? vocabularyOf(weights));
  const dataset = await openData(data, { split: config.split, warn: reporter.line });
  const model = await loadModel(weights, {
    config: config.modelConfig,
    engine,
    provider,
    warn: reporter.line,
  });
  reporter.line(`${model.engine.description}, ${model.parameterCount.toLocaleString('en')} parameters`);
  try {
    requireFit(tokenizer, model.config, config.contextLength);
    return await evaluateSplit(model, dataset, tokenizer, config, reporter);
  } finally {
    await model.dispose();
    dataset.close();
  }
}

async function fromFeatures({
  imageFeatures,
  textFeatures,
  texts: annotation,
}: EvalRetrievalConfig): Promise<RetrievalResult> {
  if (imageFeatures === undefined || textFeatures === undefined || annotation === undefined) {
    throw new UserError('--image-features, --text-features and --texts belong together: give all three');
  }
  const images = readFeatures(imageFeatures, 'image_id');
  const found = readFeatures(textFeatures, 'text_id');
  if (images.dimension !== found.dimension) {
    throw new UserError(
      `${imageFeatures} holds features of width ${images.dimension}, ${textFeatures} of width ${found.dimension}: ` +
        'both must come from one model',
    );
  }
  const texts = readTextAnnotation(annotation);
  const ids = texts.map(({ textId }) => textId);
  return evaluateRetrieval({
    imageIds: images.ids,
    imageFeatures: images.features,
    texts,
    textFeatures: selectFeatures(found, ids, textFeatures),
    dimension: images.dimension,
  });
}

function writeResult(
  output: string,
  { textToImage, imageToText }: RetrievalResult,
  reporter: Reporter,
): void {
  mkdirSync(output, { recursive: true });
  writePredictions(join(output, 'text_to_image_predictions.jsonl'), 'textToImage', textToImage.predictions);
  writePredictions(join(output, 'image_to_text_predictions.jsonl'), 'imageToText', imageToText.predictions);
  writeScores(join(output, 'text_to_image_scores.json'), textToImage.scores);
  writeScores(join(output, 'image_to_text_scores.json'), imageToText.scores);
  reporter.line(`predictions and scores: ${output}`);
}
