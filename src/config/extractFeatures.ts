import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';
import { engineNames, providerNames } from '../engine/select.js';

const formats = z.array(z.enum(['jsonl', 'npy'])).min(1);

/** Everything that `cn-clip extract-features` is told. */
export const extractFeaturesSchema = z.strictObject({
  model: z
    .string()
    .optional()
    .describe(
      'checkpoint of any form: directory, Hugging Face folder, .pt, .safetensors; or an official model',
    ),
  config: z.string().optional().describe("model config; by default the checkpoint's own"),
  vocabulary: z.string().optional().describe("vocab.txt or tokenizer.json; by default the checkpoint's own"),
  images: z
    .string()
    .optional()
    .describe(
      'pictures: a dataset of any source, a folder of pictures, or a list of files (.txt, one a line)',
    ),
  source: z.enum(datasetSources).optional().describe('how the dataset is stored; by default told from files'),
  split: z.string().default('test').describe('split of the dataset'),
  texts: z.string().optional().describe('texts: JSON Lines with text_id and text'),
  out: z.string().describe('folder for the features; an earlier run there goes on'),
  format: z
    .union(
      [
        formats,
        z
          .string()
          .transform((list) => list.split(',').map((name) => name.trim()))
          .pipe(formats),
      ],
      { error: 'expected jsonl, npy, or both, separated by a comma' },
    )
    .default(['jsonl'])
    .describe('jsonl as the reference writes it, npy (with ids in NAME.ids.jsonl), or both'),
  shard: z
    .string()
    .regex(/^\d{1,6}\/\d{1,6}$/, { error: 'expected i/n, such as 0/4' })
    .default('0/1')
    .describe('the part of one of n processes, i from 0 to n − 1'),
  contextLength: z.number().int().min(3).default(52).describe('tokens of a text, [CLS] and [SEP] included'),
  batchSize: z.number().int().positive().max(65_536).default(64).describe('images or texts of one run'),
  workers: z.number().int().positive().default(2).describe('threads that decode and resize images'),
  engine: z.enum(engineNames).default('onnx').describe('what computes'),
  provider: z.enum(providerNames).default('cpu').describe('execution provider of the onnx engine'),
});

export type ExtractFeaturesConfig = z.infer<typeof extractFeaturesSchema>;
