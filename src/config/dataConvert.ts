import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';

/** Everything that `cn-clip data convert` is told besides its two paths. */
export const dataConvertSchema = z.strictObject({
  to: z
    .enum(['tsv', 'lmdb'])
    .describe("tsv: SPLIT_imgs.tsv and SPLIT_texts.jsonl; lmdb: the reference's lmdb/SPLIT/pairs and imgs"),
  split: z.string().default('train').describe('split, or several separated by commas'),
  source: z.enum(datasetSources).optional().describe('how <in> is stored; by default told from its files'),
});
