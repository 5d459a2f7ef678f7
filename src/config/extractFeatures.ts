import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';
import {
  computing,
  contextLength,
  encoder,
  modelConfig,
  precision,
  vocabulary,
  withCommas,
  workers,
} from './common.js';

const formats = z.array(z.enum(['jsonl', 'npy'])).min(1);

/** Everything that `cn-clip extract-features` is told. */
export const extractFeaturesSchema = z.strictObject({
  model: encoder.optional(),
  precision,
  config: modelConfig,
  vocabulary,
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
    .union([formats, withCommas(formats)], { error: 'expected jsonl, npy, or both, separated by a comma' })
    .default(['jsonl'])
    .describe('jsonl as the reference writes it, npy (with ids in NAME.ids.jsonl), or both'),
  shard: z
    .string()
    .regex(/^\d{1,6}\/\d{1,6}$/, { error: 'expected i/n, such as 0/4' })
    .default('0/1')
    .describe('the part of one of n processes, i from 0 to n − 1'),
  contextLength: contextLength('text'),
  batchSize: z.number().int().positive().max(65_536).default(64).describe('images or texts of one run'),
  workers,
  ...computing,
});

export type ExtractFeaturesConfig = z.infer<typeof extractFeaturesSchema>;
