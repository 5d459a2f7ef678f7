import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';
import { searchChoices } from '../search/openSearch.js';
import { computing, contextLength, encoder, modelConfig, precision, vocabulary, workers } from './common.js';

const model = { model: encoder.optional(), precision, modelConfig, vocabulary };

/** Of commands that read an index: it names its model itself. */
const indexedModel = {
  model: z.string().optional().describe('where the model is now; by default where it was for cn-clip index'),
  precision: precision.describe('of exported ONNX files: by default the one of the index'),
  modelConfig,
  vocabulary,
};

const k = z.number().int().positive().max(1000).default(10).describe('pictures to find');

const search = z
  .enum(searchChoices)
  .default('auto')
  .describe('how to search; auto is approximate where the index was prepared for it');

/** Everything that `cn-clip similarity` is told besides pictures and texts. */
export const similaritySchema = z.strictObject({
  ...model,
  contextLength: contextLength('text'),
  json: z.boolean().default(false).describe('print JSON'),
  ...computing,
});

/** Everything that `cn-clip index` is told besides the folder. */
export const indexSchema = z.strictObject({
  ...model,
  out: z.string().optional().describe('folder for the index; one that is there is brought up to date'),
  split: z.string().optional().describe('DIR is a dataset of any kind, and this one of its splits'),
  source: z.enum(datasetSources).optional().describe('how the dataset is stored; by default told from it'),
  contextLength: contextLength('query'),
  batchSize: z.number().int().positive().default(64).describe('pictures of one run'),
  workers,
  search: z
    .enum(searchChoices)
    .default('auto')
    .describe('prepare approximate search; auto does above 100,000 pictures'),
  ...computing,
});

/** Everything that `cn-clip search` is told besides index and query. */
export const searchSchema = z.strictObject({
  ...indexedModel,
  k,
  search,
  json: z.boolean().default(false).describe('print JSON'),
  html: z.string().optional().describe('file for a page with the pictures'),
  ...computing,
});

/** Everything that `cn-clip serve` is told besides the index. */
export const serveSchema = z.strictObject({
  ...indexedModel,
  search,
  host: z.string().default('127.0.0.1').describe('address to listen on; only this machine by default'),
  port: z.number().int().min(0).max(65535).default(8080).describe('port; 0 takes a free one'),
  maxQueue: z.number().int().positive().default(256).describe('requests at a time; more are answered 503'),
  maxBodyBytes: z.number().int().positive().default(4_194_304).describe('bytes of a request'),
  maxPixels: z.number().int().positive().default(25_000_000).describe('pixels of a picture'),
  maxTexts: z.number().int().positive().default(64).describe('texts or pictures of a request'),
  maxTextLength: z.number().int().positive().default(1000).describe('characters of a text'),
  maxBatch: z
    .number()
    .int()
    .positive()
    .default(32)
    .describe('texts or pictures that the model takes at once'),
  ...computing,
});

export type SimilarityConfig = z.infer<typeof similaritySchema>;
export type IndexConfig = z.infer<typeof indexSchema>;
export type SearchConfig = z.infer<typeof searchSchema>;
export type ServeConfig = z.infer<typeof serveSchema>;
