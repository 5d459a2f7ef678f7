import { z } from 'zod';
import { setups } from '../eval/retrievalBenchmarks.js';
import { computing, contextLength, encoder, modelConfig, precision, vocabulary, workers } from './common.js';
import { dataHelp, dataSchema } from './data.js';

/** Everything that `cn-clip eval-retrieval` is told. */
export const evalRetrievalSchema = z.strictObject({
  model: encoder.optional().describe(`${encoder.description}; several with commas between`),
  precision,
  modelConfig,
  vocabulary,
  dataset: z
    .string()
    .optional()
    .describe(
      'muge, flickr30k-cn, coco-cn or emoji-cn; several with commas between; without, data of your own',
    ),
  data: dataSchema.optional().describe(`with --dataset its folder or the folder above; else the ${dataHelp}`),
  split: z.string().optional().describe('split to evaluate; by default test, valid for muge'),
  setup: z.enum(setups).default('zero-shot').describe('which published results stand beside'),
  published: z
    .string()
    .optional()
    .describe('model whose published results stand beside; by default the one of the same config'),
  imageFeatures: z
    .string()
    .optional()
    .describe('image features (.jsonl, or .npy with ids beside) in place of a model and images'),
  textFeatures: z
    .string()
    .optional()
    .describe('text features (.jsonl, or .npy with ids beside) in place of a model and texts'),
  annotations: z
    .string()
    .optional()
    .describe('annotation (jsonl with text_id and image_ids) of the features'),
  out: z.string().optional().describe('folder for scores, predictions, tables and report'),
  report: z.string().optional().describe('HTML report of one evaluation; by default report.html in --out'),
  contextLength: contextLength('text'),
  batchSize: z.number().int().positive().default(64).describe('images or texts of one run'),
  workers,
  ...computing,
});

export type EvalRetrievalConfig = z.infer<typeof evalRetrievalSchema>;
