import { z } from 'zod';
import { sourceNames } from '../hub/cache.js';
import { downloadDefaults, weightsForms } from '../hub/download.js';

/** Everything that `cn-clip download` is told besides the model. */
export const downloadSchema = z.strictObject({
  format: z
    .enum(weightsForms)
    .default(downloadDefaults.format)
    .describe('weights as the reference released them, or as transformers reads them'),
  source: z.enum(sourceNames).default(downloadDefaults.source).describe('hub to fetch from'),
  repository: z.string().optional().describe('OWNER/NAME at the hub; by default the official one'),
});
