import { join } from 'node:path';
import { Command } from 'commander';
import { classifySchema } from '../config/evalClassification.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { UserError } from '../errors.js';
import { classResults, confusionMatrix, mostConfused } from '../eval/classification/analysis.js';
import { openOwnPictures, readClassNames } from '../eval/classification/dataset.js';
import { type DatasetEvaluation, evaluateDataset } from '../eval/classification/evaluate.js';
import { topClasses } from '../eval/classification/metrics.js';
import { loadPrompts } from '../eval/classification/prompts.js';
import { percentInterval, summaryRow } from '../eval/classification/summary.js';
import { writeFileAtomic, writeText } from '../io/atomic.js';
import { createReporter } from '../io/terminal.js';
import { reportOf, writeClassificationReport } from '../report/classificationReport.js';
import { confusionPicture } from '../report/confusion.js';
import { required, withEvaluator } from './classificationModel.js';

/** Pairs of classes that the terminal shows. */
const SHOWN_PAIRS = 10;

export function classifyCommand(): Command {
  const command = new Command('classify');
  return addSettings(command, classifySchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(classifySchema, undefined, flags);
    const reporter = createReporter();
    const out = required(config.out, 'out');
    const names = config.classNames === undefined ? undefined : readClassNames(config.classNames);
    const dataset = openOwnPictures(required(config.data, 'data'), config.labels, names);
    if (dataset.classNames.length < 2) {
      throw new UserError(
        `there is only the class '${dataset.classNames[0]}': classification needs two or more`,
      );
    }
    const prompts = loadPrompts(config.templates)(dataset.name);
    await withEvaluator(config, reporter, async (evaluator) => {
      const result = await evaluateDataset(evaluator, dataset, 'accuracy', prompts, reporter);
      for (const line of resultLines(result)) reporter.line(line);
      writePredictions(join(out, 'predictions.jsonl'), result);
      const matrix = confusionMatrix(result.predictions);
      writeText(join(out, 'confusion.svg'), confusionPicture(matrix, dataset.classNames));
      writeClassificationReport(join(out, 'report.html'), {
        title: `Zero-shot classification of ${config.data}`,
        modelName: evaluator.modelName,
        publishedModel: undefined,
        rows: [summaryRow(dataset.name, result.score, undefined)],
        datasets: [await reportOf(result)],
      });
      reporter.line(`predictions, scores, confusion matrix and report: ${out}`);
    });
  });
}

/** A line a picture: its name, its classes, the most probable class and its probability. */
function writePredictions(path: string, { dataset, predictions }: DatasetEvaluation): void {
  const { classNames, images, targets } = dataset;
  const { probabilities, classCount } = predictions;
  const tops = topClasses(predictions);
  writeFileAtomic(path, (append) => {
    images.forEach((image, i) => {
      const labels = targets[i].map((target) => classNames[target]);
      const probability = probabilities[i * classCount + tops[i]];
      const line = {
        image,
        labels,
        predicted: classNames[tops[i]],
        probability: Number(probability.toFixed(6)),
      };
      append(`${JSON.stringify(line)}\n`);
    });
  });
}

/** Accuracy, a line for each class, and the pairs that are confused most often. */
function resultLines({ dataset, score, predictions }: DatasetEvaluation): string[] {
  const { classNames } = dataset;
  const percent = (share: number) => (100 * share).toFixed(1).padStart(6);
  const lines = classResults(predictions, classNames).map(
    ({ name, samples, right }) =>
      `${samples === 0 ? '     –' : percent(right / samples)} %  ${String(right).padStart(6)} of ${String(samples).padEnd(6)}  ${name}`,
  );
  const pairs = mostConfused(confusionMatrix(predictions), classNames.length, SHOWN_PAIRS).map(
    ({ actual, predicted, count }) =>
      `${String(count).padStart(6)}  ${classNames[actual]} taken for ${classNames[predicted]}`,
  );
  return [
    `accuracy ${percent(score.top1).trim()} % (${percentInterval(score.top1Interval)}) of ${score.images} pictures`,
    ...lines,
    ...(pairs.length === 0 ? [] : ['most confused:', ...pairs]),
  ];
}
