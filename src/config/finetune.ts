import { z } from 'zod';
import { vocabulary } from './common.js';
import { runShape, stageShape, validationShape } from './training.js';

/** Everything that `cn-clip finetune` is told, in its YAML file or by flags. */
export const finetuneSchema = z.strictObject({
  model: z
    .string()
    .describe('checkpoint of any form, or official model: weights, config and vocabulary come from it'),
  vocabulary,
  ...runShape,
  ...validationShape,
  epochs: z
    .number()
    .int()
    .positive()
    .optional()
    .describe('passes over the training pairs; may be left out where maxSteps is given'),
  ...stageShape,
});

export type FinetuneConfig = z.infer<typeof finetuneSchema>;
