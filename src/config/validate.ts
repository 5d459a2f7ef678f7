import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';
import { contextLength } from './common.js';

/** Everything that `cn-clip data validate` is told besides the dataset. */
export const validateSchema = z.strictObject({
  split: z.string().optional().describe('split to check; by default all that are found'),
  source: z
    .enum(datasetSources)
    .optional()
    .describe('how the dataset is stored; by default told from its files'),
  vocabulary: z
    .string()
    .optional()
    .describe(
      'vocab.txt or tokenizer.json; by default vocab.txt in the folder, and without one tokens are not counted',
    ),
  contextLength: contextLength('text'),
  decode: z.boolean().default(true).describe('decode every picture; false: only read them, for their hashes'),
  workers: z.number().int().positive().default(2).describe('threads that read and decode pictures'),
  shown: z
    .number()
    .int()
    .min(0)
    .default(20)
    .describe('problems of a kind that are shown; the others are counted'),
  json: z.string().optional().describe('file to write the whole report to, with 1,000 problems of each kind'),
});
