import { z } from 'zod';
import { computing, contextLength, encoder, modelConfig, precision, vocabulary, workers } from './common.js';

/** What every command of zero-shot classification is told of the model and the run. */
const common = {
  model: encoder.optional(),
  precision,
  config: modelConfig,
  vocab: vocabulary,
  templates: z
    .string()
    .optional()
    .describe('prompts (JSON or YAML) in place of ours: a list, or lists by dataset; {} is the class name'),
  contextLength: contextLength('prompt'),
  batchSize: z.number().int().positive().default(64).describe('images or prompts of one run'),
  workers,
  ...computing,
};

/** Everything that `cn-clip eval-elevater` is told. */
export const evalElevaterSchema = z.strictObject({
  data: z.string().optional().describe('folder with a folder for each dataset'),
  datasets: z
    .string()
    .default('all')
    .describe('names joined by commas, or all: the twenty; emoji-cn is built where it is not there'),
  ...common,
  out: z
    .string()
    .optional()
    .describe('folder for predictions, scores and report; an earlier run there goes on'),
  modelName: z.string().optional().describe('what prediction files call the model'),
  published: z
    .string()
    .optional()
    .describe('model whose published results are shown; by default told by its config'),
  compare: z.string().optional().describe('--out folder of another model, to test the difference'),
  validate: z.string().optional().describe('only check this prediction file or all_predictions.zip'),
});

/** Everything that `cn-clip classify` is told. */
export const classifySchema = z.strictObject({
  data: z
    .string()
    .optional()
    .describe('folder of pictures: a folder for each class, or those that --labels names'),
  labels: z
    .string()
    .optional()
    .describe('CSV or JSON Lines file with image (relative to --data) and label, in place of class folders'),
  classNames: z
    .string()
    .optional()
    .describe(
      'file with a class name a line: in the order of the folders, or the classes that --labels may name',
    ),
  ...common,
  out: z.string().optional().describe('folder for predictions, scores, confusion matrix and report'),
});

export type EvalElevaterConfig = z.infer<typeof evalElevaterSchema>;
export type ClassifyConfig = z.infer<typeof classifySchema>;
