import { basename } from 'node:path';
import { vocabularyOf } from '../checkpoint/open.js';
import type { ClassifyConfig } from '../config/evalClassification.js';
import { UserError } from '../errors.js';
import type { Evaluator } from '../eval/classification/evaluate.js';
import { recognizeModel } from '../eval/classification/published.js';
import type { Reporter } from '../io/terminal.js';
import { requireFit } from '../model/config.js';
import { fingerprintOf } from '../model/fingerprint.js';
import { loadModel } from '../model/load.js';
import { loadTokenizer } from '../text/tokenizer.js';

type ModelSettings = Pick<
  ClassifyConfig,
  'model' | 'config' | 'vocab' | 'engine' | 'provider' | 'contextLength' | 'batchSize' | 'workers' | 'out'
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
  const { vocab, config, engine, provider, contextLength, batchSize, workers } = settings;
  const location = required(settings.model, 'model');
  const out = required(settings.out, 'out');
  const tokenizer = await loadTokenizer(vocab ?? vocabularyOf(location));
  const model = await loadModel(location, { config, engine, provider, warn: reporter.line });
  reporter.line(`${model.engine.description}, ${model.parameterCount.toLocaleString('en')} parameters`);
  try {
    requireFit(tokenizer, model.config, contextLength);
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
