import { z } from 'zod';
import { defaultMinimumCosine, defaultOpset, latestIrVersion, opsets } from '../export/options.js';
import { precisions } from '../export/parity.js';
import { checkpoint, modelConfig, provider, providerOptions, vocabulary, withCommas } from './common.js';

const precisionList = z.array(z.enum(precisions)).min(1);

/** Everything that `cn-clip export onnx` is told. */
export const exportOnnxSchema = z.strictObject({
  model: checkpoint,
  modelConfig,
  vocabulary,
  out: z.string().describe("folder and beginning of the files' names: PREFIX.img.fp32.onnx and so on"),
  precision: z
    .union([precisionList, withCommas(precisionList)], {
      error: `expected ${precisions.join(', ')} or several of them, separated by commas`,
    })
    .default(['fp32'])
    .describe(`any of ${precisions.join(', ')}, separated by commas`),
  opset: z
    .number()
    .int()
    .min(opsets[0])
    .max(opsets[opsets.length - 1])
    .default(defaultOpset)
    .describe(`version of the ONNX operators, ${opsets[0]} to ${opsets.at(-1)}`),
  irVersion: z
    .number()
    .int()
    .optional()
    .describe(
      `version of the file format, up to ${latestIrVersion}; by default the least that the opset allows`,
    ),
  externalData: z
    .boolean()
    .optional()
    .describe('weights in FILE.extra_file beside each file; by default those of more than 1 GB'),
  optimize: z.boolean().default(false).describe('also write each graph as ONNX Runtime has fused it'),
  layout: z
    .enum(['towers', 'transformersjs'])
    .default('towers')
    .describe('transformersjs: also a folder PREFIX.transformersjs that @huggingface/transformers loads'),
  data: z
    .string()
    .optional()
    .describe('folder with SPLIT_imgs.tsv and SPLIT_texts.jsonl, to compare on; by default embedded samples'),
  split: z.string().default('valid').describe('split of the data to compare on'),
  samples: z.number().int().min(1).max(10_000).default(32).describe('pictures and texts of the split'),
  provider: provider.describe('execution provider to run the files on when they are compared'),
  providerOptions,
  minimumCosine: z
    .strictObject({
      fp32: z
        .number()
        .min(-1)
        .max(1)
        .default(defaultMinimumCosine.fp32)
        .describe('least cosine of an fp32 feature to that of the model; below it the export fails'),
      fp16: z.number().min(-1).max(1).default(defaultMinimumCosine.fp16).describe('the same for fp16'),
      int8: z.number().min(-1).max(1).default(defaultMinimumCosine.int8).describe('the same for int8'),
    })
    .prefault({}),
  overwrite: z.boolean().default(false).describe('replace files of the same names'),
});

export type ExportOnnxConfig = z.infer<typeof exportOnnxSchema>;
