import { z } from 'zod';
import { enginePrecisions } from '../export/exportTensorrt.js';
import { defaultMinimumCosine } from '../export/options.js';
import { withCommas } from './common.js';

const precisionList = z.array(z.enum(enginePrecisions)).min(1);
const size = z.number().int().min(1).max(65_536);
const cosine = z.number().min(-1).max(1);

/** Everything that `cn-clip export tensorrt` is told. */
export const exportTensorrtSchema = z.strictObject({
  model: z.string().describe('what cn-clip export onnx wrote: its folder or prefix'),
  precision: z
    .union([precisionList, withCommas(precisionList)], {
      error: `expected ${enginePrecisions.join(', ')} or both, separated by a comma`,
    })
    .default(['fp16'])
    .describe(`of the files to build from: any of ${enginePrecisions.join(', ')}, separated by commas`),
  batch: z
    .strictObject({
      min: size.default(1).describe('least number of pictures or texts of a run'),
      opt: size.default(8).describe('the number that is to be fastest'),
      max: size.default(64).describe('the largest; what is more is run in parts'),
    })
    .prefault({}),
  textLength: z
    .strictObject({
      min: size.default(2).describe('least number of tokens of a text; shorter ones are padded'),
      opt: size.default(12).describe('the number that is to be fastest'),
      max: size.default(52).describe('the largest'),
    })
    .prefault({}),
  trtexec: z.string().optional().describe('the program of TensorRT; by default looked for in PATH'),
  deviceId: z.number().int().min(0).max(1023).optional().describe('GPU, counted from 0'),
  workspace: z
    .number()
    .int()
    .min(1)
    .optional()
    .describe('MiB of memory for one layer, by default all of the GPU'),
  timingCache: z.string().optional().describe("file with TensorRT's measurements, read and added to"),
  optimizationLevel: z
    .number()
    .int()
    .min(0)
    .max(5)
    .optional()
    .describe("from 0 (built fast) to 5 (runs fast); by default TensorRT's own, 3"),
  compare: z
    .boolean()
    .default(true)
    .describe('run the engines and compare them; false: build only, without the provider'),
  minimumCosine: z
    .strictObject({
      fp32: cosine
        .default(defaultMinimumCosine.fp32)
        .describe('least cosine of a feature to that of the file on the CPU; below it nothing is written'),
      fp16: cosine.default(defaultMinimumCosine.fp16).describe('the same for fp16'),
    })
    .prefault({}),
  dryRun: z.boolean().default(false).describe('print the commands of trtexec, and do nothing'),
  overwrite: z.boolean().default(false).describe('replace other engines of the same names'),
});
