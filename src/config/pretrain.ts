import { z } from 'zod';
import { runShape, stageShape, validationShape } from './training.js';

/** One stage of pretraining. */
export const pretrainStageSchema = z.strictObject({
  epochs: z.number().int().min(0).describe('passes over the training pairs; 0 leaves the stage out'),
  ...stageShape,
});

/** Everything that `cn-clip pretrain` is told, in its YAML file or by flags. */
export const pretrainSchema = z.strictObject({
  model: z.string().describe('model config: a name, VISION+TEXT, or a YAML or JSON file'),
  vocabulary: z
    .string()
    .optional()
    .describe('vocab.txt or tokenizer.json; by default vocab.txt in the data folder'),
  ...runShape,
  ...validationShape,
  validSplit: validationShape.validSplit
    .unwrap()
    .default('none')
    .describe('split to validate on; none for no validation'),
  weights: z
    .string()
    .optional()
    .describe('checkpoint of any form, or official model, to start from; by default random weights'),
  init: z
    .strictObject({
      vision: z.string().optional().describe('OpenAI CLIP weights (.pt, .safetensors) for the image tower'),
      text: z
        .string()
        .optional()
        .describe('BERT or RoBERTa weights in Hugging Face names for the text tower'),
    })
    .prefault({}),
  stage1: pretrainStageSchema.describe('locked-image tuning: the image tower keeps its weights'),
  stage2: pretrainStageSchema.describe('all parameters'),
});

export type PretrainConfig = z.infer<typeof pretrainSchema>;
