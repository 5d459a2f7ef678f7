import { z } from 'zod';
import { loraTargets } from '../model/lora.js';
import { bestMetrics } from '../train/bestMetric.js';
import { scheduleNames } from '../train/schedule.js';
import { computing, contextLength, workers } from './common.js';
import { dataHelp, dataSchema } from './data.js';

const count = z.number().int().positive();

/** What a stage of training is told besides its length in epochs: batches, AdamW, what is trained and how. */
export const stageShape = {
  maxSteps: count.optional().describe('ends the stage after so many steps, whatever epochs says'),
  batchSize: z.number().int().min(2).describe('pairs of one step, each the negative of all others'),
  learningRate: z.number().positive().describe('peak learning rate'),
  warmupSteps: z.number().int().min(0).default(500).describe('steps of linear warm-up'),
  weightDecay: z.number().min(0).default(0.2).describe("AdamW's decoupled weight decay"),
  beta1: z.number().min(0).lt(1).default(0.9).describe("AdamW's decay of the mean gradient"),
  beta2: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe("AdamW's decay of the mean squared gradient; by default 0.98, for a ResNet 0.999"),
  epsilon: z
    .number()
    .positive()
    .optional()
    .describe("AdamW's term against division by zero; by default 1e-6, for a ResNet 1e-8"),
  dropout: z.boolean().default(true).describe("text dropout at the model config's rates"),
  schedule: z
    .enum(scheduleNames)
    .default('cosine')
    .describe('of the learning rate: cosine or constant after the warm-up; none is constant without warm-up'),
  clipNorm: z.number().min(0).default(0).describe('largest global norm of the gradient; 0 for any'),
  accumulate: count
    .default(1)
    .describe('parts that a batch is cut into to save memory; the gradient stays that of the whole batch'),
  checkpointing: z
    .boolean()
    .default(false)
    .describe('hold inputs of blocks alone and compute the rest again: less memory, more time'),
  maskRatio: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('share of patches that the ViT does not see in training (FLIP)'),
  freezeVision: z
    .boolean()
    .default(false)
    .describe('the image tower keeps its weights; always so in stage 1'),
  freezeText: z.boolean().default(false).describe('the text tower keeps its weights'),
  freezeVisionBlocks: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('first blocks of the image tower that keep their weights, with what lies below'),
  freezeTextBlocks: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('first layers of the text tower that keep their weights, with the embeddings'),
  headsOnly: z.boolean().default(false).describe('train the projections and logit_scale alone'),
  freezeBatchNorm: z.boolean().default(false).describe("a ResNet's batch norms keep their statistics"),
  frozenPrecision: z
    .enum(['float32', 'float16'])
    .default('float32')
    .describe('of frozen weights in memory; float16 rounds them and takes half of it, on the onnx engine'),
  teacher: z
    .string()
    .optional()
    .describe('checkpoint of any form, or official model, whose image features to come near (distillation)'),
  distillationWeight: z.number().positive().default(0.5).describe("of the teacher's part in the loss"),
  lora: z
    .strictObject({
      rank: z
        .number()
        .int()
        .min(0)
        .default(0)
        .describe('of low-rank adapters in place of the weights; 0: none'),
      alpha: z.number().positive().default(16).describe('adapters are scaled by alpha / rank'),
      targets: z.enum(loraTargets).default('all').describe('projections of a block that get an adapter'),
      heads: z.boolean().default(false).describe('train the projections and logit_scale, too'),
    })
    .prefault({}),
  augment: z
    .boolean()
    .default(false)
    .describe('random crops, mirroring and AutoAugment on pictures, anew in each epoch'),
};

/** What every run is told: its data, where it goes, and how it proceeds. */
export const runShape = {
  data: dataSchema.describe(dataHelp),
  split: z.string().default('train').describe('split to train on'),
  output: z.string().describe('folder of the run: checkpoints, logs, the finished model'),
  resume: z
    .string()
    .optional()
    .describe(
      "another run's checkpoint with its optimizer (.pt of the reference, or a directory) to go on from",
    ),
  resetOptimizer: z
    .boolean()
    .default(false)
    .describe("go on from resume's weights and position, with a new optimizer"),
  resetDataOffset: z
    .boolean()
    .default(false)
    .describe("go on with resume's weights and optimizer, from the first step of schedule and data"),
  contextLength: contextLength('text'),
  uniqueCaptions: z
    .boolean()
    .default(false)
    .describe('order the pairs so that no batch has a text or an image twice'),
  maxBrokenRate: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe('share of broken pictures that are skipped; above it the run ends'),
  seed: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('of initial weights, data order, dropout, masks and adapters'),
  ...computing,
  workers,
  readAhead: count.default(4).describe('batches prepared ahead'),
  logEverySteps: count.default(10).describe('steps between log lines'),
  saveEverySteps: count.default(500).describe('steps between checkpoints'),
  keepCheckpoints: count.default(2).describe('checkpoints kept'),
};

/** Validation during training. */
export const validationShape = {
  validData: dataSchema.optional().describe('dataset to validate on; by default the one trained on'),
  validSplit: z.string().default('valid').describe('split to validate on; none for no validation'),
  otherData: dataSchema
    .optional()
    .describe('another dataset, measured before the first step and after the last: what training forgets'),
  otherSplit: z.string().default('test').describe('its split'),
  validBatchSize: z
    .number()
    .int()
    .min(2)
    .default(128)
    .describe("pairs of a batch of the reference's validation loss and in-batch accuracy"),
  validEverySteps: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('steps between validations; 0: by epochs alone'),
  validEveryEpochs: z
    .number()
    .int()
    .min(0)
    .default(1)
    .describe('epochs between validations; 0: by steps alone. The first and the last step always have one'),
  bestMetric: z
    .enum(bestMetrics)
    .default('meanRecall')
    .describe(
      'what the checkpoint kept in best/ is best in: mean recall of both directions or of one, or loss',
    ),
  patience: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('validations without a new best after which training ends; 0: never'),
};

const runSchema = z.object({ ...runShape, ...validationShape });
/** What pretraining and finetuning are told alike. */
export type RunConfig = z.infer<typeof runSchema> & { vocabulary?: string };

const anyStage = z.object({ ...stageShape, epochs: z.number().optional() });
/** One stage of training: its length, batches, AdamW's hyper-parameters, what is trained and how. */
export type StageConfig = z.infer<typeof anyStage>;

/** The settings of a stage among others. */
export function stageSettings(settings: StageConfig): StageConfig {
  return anyStage.parse(settings);
}

/** Settings that change how a run proceeds, not what comes out of it: a resumed run may differ in them. */
export const operationalSettings: readonly string[] = [
  'output',
  'providerOptions',
  'workers',
  'maxBrokenRate',
  'readAhead',
  'logEverySteps',
  'saveEverySteps',
  'keepCheckpoints',
] satisfies (keyof RunConfig)[];
