import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.js';
import { writePredictions, writeScores } from '../eval/files.js';
import { predict, type RetrievalInput, type RetrievalResult } from '../eval/retrieval.js';
import type { RetrievalSummary } from '../eval/retrievalSummary.js';
import { csvTable, markdownTable } from '../eval/retrievalTable.js';
import { writeText } from '../io/atomic.js';
import type { Reporter } from '../io/terminal.js';
import type { RetrievalExamples } from '../report/retrievalExamples.js';
import { writeRetrievalReport } from '../report/retrievalReport.js';
import type { SplitPlan } from './retrievalPlan.js';

/** What came of one model and split. */
export interface Evaluation {
  summary: RetrievalSummary;
  result: RetrievalResult;
}

/** Where the files of one model and split go, where there are several. */
export function folderOf(out: string | undefined, { name }: SplitPlan, model: string): string | undefined {
  const plain = (text: string) => text.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+/, '');
  return out === undefined ? undefined : join(out, plain(name), plain(model));
}

/** Writes the files of one evaluation: predictions and scores as the reference has them, our own scores, the report. */
export function writeEvaluation(
  folder: string | undefined,
  report: string | undefined,
  { summary, result }: Evaluation,
  examples?: RetrievalExamples,
): void {
  if (folder !== undefined) {
    mkdirSync(folder, { recursive: true });
    writePredictions(join(folder, 't2i_predictions.jsonl'), 'textToImage', result.textToImage.predictions);
    writePredictions(join(folder, 'i2t_predictions.jsonl'), 'imageToText', result.imageToText.predictions);
    writeScores(join(folder, 't2i_score.json'), result.textToImage.scores);
    writeScores(join(folder, 'i2t_score.json'), result.imageToText.scores);
    writeText(join(folder, 'scores.json'), JSON.stringify(summary, null, 1));
  }
  const page = report ?? (folder === undefined ? undefined : join(folder, 'report.html'));
  if (page !== undefined) writeRetrievalReport(page, { summary, result, examples });
}

/**
 * Writes the text→image predictions of a split without annotation, as a benchmark's server takes them.
 *
 * @throws UserError where there is no folder to write them to
 */
export async function writeSubmission(
  folder: string | undefined,
  { texts, textFeatures, imageIds, imageFeatures, dimension }: RetrievalInput,
  name: string,
  reporter: Reporter,
): Promise<void> {
  const nothing = `no text of ${name} names its pictures, so there is nothing to score`;
  if (folder === undefined) throw new UserError(`${nothing}: give --out for the predictions`);
  const textIds = texts.map(({ textId }) => textId);
  const predictions = await predict(textIds, textFeatures, imageIds, imageFeatures, dimension);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 't2i_predictions.jsonl');
  writePredictions(path, 'textToImage', predictions);
  reporter.line(`${nothing}; predictions to submit: ${path}`);
}

/** Writes the table of all evaluations as Markdown, CSV and JSON. */
export function writeTables(folder: string, summaries: readonly RetrievalSummary[]): void {
  mkdirSync(folder, { recursive: true });
  writeText(join(folder, 'table.md'), markdownTable(summaries));
  writeText(join(folder, 'table.csv'), csvTable(summaries));
  writeText(join(folder, 'table.json'), JSON.stringify(summaries, null, 1));
}
