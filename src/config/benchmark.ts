import { z } from 'zod';
import { providerNames } from '../engine/onnx/sessionOptions.js';
import { precisions } from '../export/parity.js';
import { modelConfig, providerOptions, withCommas } from './common.js';

/** Everything that `cn-clip benchmark` is told. */
export const benchmarkSchema = z.strictObject({
  model: z
    .string()
    .describe('a checkpoint of any form, or a size with random weights: ViT-B-16, ViT-B-32+RBT3-chinese …'),
  config: modelConfig,
  batchSizes: withCommas(z.array(z.coerce.number<string>().int().positive().max(4096)).min(1))
    .prefault('1,8,32')
    .describe('images or texts of one run, separated by commas'),
  precisions: withCommas(z.array(z.enum(precisions)).min(1))
    .prefault('fp32')
    .describe(`any of ${precisions.join(', ')}, separated by commas`),
  providers: withCommas(z.array(z.enum(providerNames)).min(1))
    .prefault('cpu')
    .describe(`execution providers, any of ${providerNames.join(', ')}, separated by commas`),
  providerOptions,
  textLength: z.number().int().min(3).default(12).describe('tokens of each text; the reference pads to 52'),
  warmup: z.number().int().min(0).default(2).describe('runs that are not timed'),
  runs: z.number().int().positive().default(10).describe('runs that are timed'),
  out: z.string().optional().describe('JSON file for the results'),
});

export type BenchmarkConfig = z.infer<typeof benchmarkSchema>;
