import { z } from 'zod';
import { engineNames, providerNames } from '../engine/select.js';
import { setups } from '../eval/retrievalBenchmarks.js';
import { dataHelp, dataSchema } from './data.js';

/** Everything that `cn-clip eval-retrieval` is told. */
export const evalRetrievalSchema = z.strictObject({
  model: z
    .string()
    .optional()
    .describe(
      'checkpoint of any form: directory, Hugging Face folder, .pt, .safetensors; or an official model; ' +
        'several with commas between',
    ),
  modelConfig: z.string().optional().describe("model config; by default the checkpoint's own"),
  vocabulary: z.string().optional().describe("vocab.txt or tokenizer.json; by default the checkpoint's own"),
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
  contextLength: z.number().int().min(3).default(52).describe('tokens of a text, [CLS] and [SEP] included'),
  batchSize: z.number().int().positive().default(64).describe('images or texts of one run'),
  workers: z.number().int().positive().default(2).describe('threads that decode and resize images'),
  engine: z.enum(engineNames).default('onnx').describe('what computes'),
  provider: z.enum(providerNames).default('cpu').describe('execution provider of the onnx engine'),
});

export type EvalRetrievalConfig = z.infer<typeof evalRetrievalSchema>;
