import { basename } from 'node:path';
import type { ClassifyConfig } from '../config/evalClassification.js';
import { UserError } from '../errors.js';
import type { Evaluator } from '../eval/classification/evaluate.js';
import { recognizeModel } from '../eval/classification/published.js';
import type { Reporter } from '../io/terminal.js';
import { fingerprintOf } from '../model/fingerprint.js';
import { openEncoder } from './encoder.js';

type ModelSettings = Pick<
  ClassifyConfig,
  | 'model'
  | 'precision'
  | 'config'
  | 'vocab'
  | 'engine'
  | 'provider'
  | 'providerOptions'
  | 'contextLength'
  | 'batchSize'
  | 'workers'
  | 'out'
> & { modelName?: string };

/** The setting, which the command can't do without. @throws UserError naming its flag */
export function required(value: string | undefined, flag: string): string {
  if (value === undefined) throw new UserError(`give --${flag}`);
  return value;
}

/**
 * Loads the model of a classification command, hands it to `use`, and frees it.
 *
 * @throws UserError where a flag is missing, or model and vocabulary don't fit
 */
export async function withEvaluator<T>(
  settings: ModelSettings,
  reporter: Reporter,
  use: (evaluator: Evaluator, recognized: string | undefined) => Promise<T>,
): Promise<T> {
  const { vocab: vocabulary, contextLength, batchSize, workers } = settings;
  const location = required(settings.model, 'model');
  const out = required(settings.out, 'out');
  const { model, tokenizer } = await openEncoder(
    location,
    { ...settings, vocabulary, optimizeFor: 'throughput' },
    reporter.line,
  );
  reporter.line(`${model.description}, ${model.parameterCount.toLocaleString('en')} parameters`);
  try {
    const recognized = recognizeModel(model.config);
    const modelName =
      settings.modelName ?? (recognized === undefined ? basename(location) : `CN-CLIP-${recognized}`);
    const fingerprint = fingerprintOf(model, tokenizer, contextLength);
    return await use(
      { model, tokenizer, contextLength, batchSize, workers, fingerprint, modelName, out },
      recognized,
    );
  } finally {
    await model.dispose();
  }
}
