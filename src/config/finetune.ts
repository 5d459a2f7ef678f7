import { z } from 'zod';
import { runShape, stageShape, validationShape } from './training.js';

/** Everything that `cn-clip finetune` is told, in its YAML file or by flags. */
export const finetuneSchema = z.strictObject({
  model: z
    .string()
    .describe('checkpoint of any form, or official model: weights, config and vocabulary come from it'),
  vocabulary: z.string().optional().describe("vocab.txt or tokenizer.json; by default the checkpoint's own"),
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
