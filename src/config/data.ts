import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';

/** A dataset with all that can be said of it. */
const partSchema = z.strictObject({
  path: z.string().describe('folder, file, or pattern such as shard-{000..099}.tar'),
  source: z.enum(datasetSources).optional().describe('how it is stored; by default told from the files'),
  split: z.string().optional().describe("by default the command's"),
  columns: z
    .strictObject({ image: z.string().optional(), text: z.string().optional() })
    .optional()
    .describe('names of columns (of endings and JSON fields in a webdataset)'),
  weight: z.number().positive().max(1000).default(1).describe('passes over it an epoch'),
  shuffleBuffer: z.number().int().positive().optional().describe('pairs drawn from, in shards'),
  shard: z
    .strictObject({ index: z.number().int().min(0), count: z.number().int().positive() })
    .optional()
    .describe('the part of one of several processes'),
});

const oneSchema = z.union([z.string(), partSchema], { error: 'expected a path, or { path: …, … }' });
/** What a command is told of its data: a path, a dataset, or a list of these, which are mixed by their weights. */
export const dataSchema = z.union([z.string(), partSchema, z.array(oneSchema).min(1)], {
  error: 'expected a path, { path: …, … }, or a list of these',
});

export type DataPart = z.infer<typeof partSchema>;
export type DataSetting = z.infer<typeof dataSchema>;

/** Help of the setting, for a command's schema. */
export const dataHelp =
  'dataset: folder, file, or pattern such as shard-{000..099}.tar; in the YAML file also its settings ' +
  '(path, source, split, columns, weight, shuffleBuffer, shard), or a list to mix';
