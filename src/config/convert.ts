import { z } from 'zod';
import { modelConfig, vocabulary } from './common.js';

/** Everything that `cn-clip convert` is told besides its two paths. */
export const convertSchema = z.strictObject({
  to: z
    .enum(['pt', 'safetensors', 'huggingface'])
    .describe(
      'pt: a checkpoint of the reference; safetensors: a .safetensors file or, by any other name, a checkpoint ' +
        "directory; huggingface: a folder for transformers' ChineseCLIPModel",
    ),
  dtype: z
    .enum(['keep', 'float32', 'float16'])
    .default('keep')
    .describe('precision of the weights; keep leaves each tensor in its own'),
  modelConfig,
  vocabulary,
});

export type ConvertConfig = z.infer<typeof convertSchema>;
