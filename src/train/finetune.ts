import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { openCheckpoint, vocabularyOf } from '../checkpoint/open.js';
import type { FinetuneConfig } from '../config/finetune.js';
import { stageSettings } from '../config/training.js';
import { loadTokenizer } from '../text/tokenizer.js';
import { defaultAdamW } from './adamw.js';
import { type RunOptions, runTraining } from './run.js';

/**
 * Trains a given model on further data, in one stage. Weights, config and vocabulary are those of `config.model`.
 * A run that was interrupted is taken up at its newest checkpoint and ends with the weights it would have had.
 *
 * @returns the folder of the finished model, or undefined if `shouldStop` ended the run early
 * @throws UserError for settings, data or weights that do not fit
 */
export async function finetune(config: FinetuneConfig, options: RunOptions): Promise<string | undefined> {
  const { model, vocabulary } = config;
  const modelConfig = openCheckpoint(model).config();
  const tokenizer = await loadTokenizer(vocabulary ?? vocabularyOf(model));
  const complete = { ...defaultAdamW(modelConfig), ...config };
  const settings = stageSettings(complete);
  return runTraining(
    {
      config,
      // A model's name is no path.
      settings: { ...complete, model: existsSync(model) ? resolve(model) : model },
      modelConfig,
      tokenizer,
      stages: [{ number: 1, name: 'finetuning', prefix: '', settings }],
      weights: model,
    },
    options,
  );
}
