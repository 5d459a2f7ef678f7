import { join } from 'node:path';
import type { PretrainConfig } from '../config/pretrain.js';
import { stageSettings } from '../config/training.js';
import { UserError } from '../errors.js';
import { loadModelConfig, type ModelConfig } from '../model/config.js';
import { loadTokenizer } from '../text/tokenizer.js';
import { defaultAdamW } from './adamw.js';
import { type RunOptions, runTraining } from './run.js';
import type { Stage } from './stage.js';
import { dataFolder, initializeTowers, requireOneStart } from './start.js';

export interface PretrainOptions extends RunOptions {
  /** the stages to run, in order */
  stages: readonly (1 | 2)[];
}

/**
 * Pretrains in two stages, as the paper does: first locked-image tuning, the image tower frozen, then all parameters.
 * A run that was interrupted is taken up at its newest checkpoint and ends with the weights it would have had.
 *
 * @returns the folder of the finished model, or undefined if `shouldStop` ended the run early
 * @throws UserError for settings, data or weights that do not fit
 */
export async function pretrain(
  config: PretrainConfig,
  options: PretrainOptions,
): Promise<string | undefined> {
  requireOneStart(config);
  const numbers = options.stages.filter((number) => config[`stage${number}`].epochs > 0);
  if (numbers.length === 0) throw new UserError('nothing to train: epochs is 0 in every stage');
  const tokenizer = await loadTokenizer(config.vocabulary ?? join(dataFolder(config.data), 'vocab.txt'));
  const modelConfig = loadModelConfig(config.model, { vocabSize: tokenizer.vocabularySize });
  const settings = withAdamW(config, modelConfig);
  const stages = numbers.map((number): Stage => {
    const given = stageSettings(settings[`stage${number}`]);
    const stage = number === 1 ? { ...given, freezeVision: true } : given;
    return { number, name: `stage ${number}`, prefix: `stage${number}.`, settings: stage };
  });
  return runTraining(
    {
      config,
      settings,
      modelConfig,
      tokenizer,
      stages,
      weights: config.weights,
      initialize: (model) => {
        initializeTowers(model, config, options.reporter);
        const { vision, text } = config.init;
        if (numbers[0] === 2 && vision === undefined && text === undefined) {
          options.reporter.line('stage 2 starts from random weights: there is no checkpoint of stage 1 here');
        }
      },
    },
    options,
  );
}

/** What AdamW's settings leave open follows the model. */
function withAdamW(config: PretrainConfig, modelConfig: ModelConfig): PretrainConfig {
  const defaults = defaultAdamW(modelConfig);
  return {
    ...config,
    stage1: { ...defaults, ...config.stage1 },
    stage2: { ...defaults, ...config.stage2 },
  };
}
