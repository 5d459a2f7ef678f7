import { z } from 'zod';
import { engineNames, providerNames } from '../engine/select.js';
import { dataHelp, dataSchema } from './data.js';

/** Everything that `cn-clip eval-retrieval` is told. */
export const evalRetrievalSchema = z.strictObject({
  model: z
    .string()
    .optional()
    .describe(
      'checkpoint of any form: directory, Hugging Face folder, .pt, .safetensors; or an official model',
    ),
  modelConfig: z.string().optional().describe("model config; by default the checkpoint's own"),
  vocabulary: z.string().optional().describe("vocab.txt or tokenizer.json; by default the checkpoint's own"),
  data: dataSchema.optional().describe(dataHelp),
  split: z.string().default('test').describe('split to evaluate'),
  imageFeatures: z.string().optional().describe('image features (jsonl) in place of a model and images'),
  textFeatures: z.string().optional().describe('text features (jsonl) in place of a model and texts'),
  texts: z.string().optional().describe('annotation (jsonl with text_id and image_ids) of the features'),
  output: z.string().optional().describe('folder for predictions and scores'),
  contextLength: z.number().int().min(3).default(52).describe('tokens of a text, [CLS] and [SEP] included'),
  batchSize: z.number().int().positive().default(64).describe('images or texts of one run'),
  workers: z.number().int().positive().default(2).describe('threads that decode and resize images'),
  engine: z.enum(engineNames).default('onnx').describe('what computes'),
  provider: z.enum(providerNames).default('cpu').describe('execution provider of the onnx engine'),
});

export type EvalRetrievalConfig = z.infer<typeof evalRetrievalSchema>;
