import { z } from 'zod';

/** Everything that `cn-clip interpolate` is told besides its two checkpoints. */
export const interpolateSchema = z.strictObject({
  alpha: z
    .string()
    .regex(/^\d*\.?\d+(,\d*\.?\d+)*$/, 'expected a number from 0 to 1, or several with commas between them')
    .default('0.5')
    .describe("share of the second checkpoint's weights, from 0 to 1; several with commas between them"),
  out: z.string().describe('folder to write; with several alphas, folders alpha-… in it'),
});
