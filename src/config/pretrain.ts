import { z } from 'zod';
import { engineNames, providerNames } from '../engine/select.js';
import { dataHelp, dataSchema } from './data.js';

const count = z.number().int().positive();

/** One stage of training: its length and AdamW's hyper-parameters. */
const stageSchema = z.strictObject({
  epochs: z.number().int().min(0).describe('passes over the training pairs; 0 leaves the stage out'),
  batchSize: z.number().int().min(2).describe('pairs of one step, each the negative of all others'),
  learningRate: z.number().positive().describe('peak learning rate'),
  warmupSteps: z.number().int().min(0).default(500).describe('steps of linear warm-up'),
  weightDecay: z.number().min(0).default(0.2).describe("AdamW's decoupled weight decay"),
  beta1: z.number().min(0).lt(1).default(0.9).describe("AdamW's decay of the mean gradient"),
  beta2: z.number().min(0).lt(1).default(0.98).describe("AdamW's decay of the mean squared gradient"),
  epsilon: z.number().positive().default(1e-6).describe("AdamW's term against division by zero"),
  dropout: z.boolean().default(true).describe("text dropout at the model config's rates"),
});

/** Everything that `cn-clip pretrain` is told, in its YAML file or by flags. */
export const pretrainSchema = z.strictObject({
  model: z.string().describe('model config: a name, VISION+TEXT, or a YAML or JSON file'),
  data: dataSchema.describe(dataHelp),
  split: z.string().default('train').describe('split to train on'),
  vocabulary: z
    .string()
    .optional()
    .describe('vocab.txt or tokenizer.json; by default vocab.txt in the data folder'),
  output: z.string().describe('folder of the run: checkpoints, logs, the finished model'),
  weights: z
    .string()
    .optional()
    .describe('checkpoint of any form, or official model, to start from; by default random weights'),
  resume: z
    .string()
    .optional()
    .describe(
      "another run's checkpoint with its optimizer (.pt of the reference, or a directory) to go on from",
    ),
  init: z
    .strictObject({
      vision: z.string().optional().describe('OpenAI CLIP weights (.pt, .safetensors) for the image tower'),
      text: z
        .string()
        .optional()
        .describe('BERT or RoBERTa weights in Hugging Face names for the text tower'),
    })
    .prefault({}),
  contextLength: z.number().int().min(3).default(52).describe('tokens of a text, [CLS] and [SEP] included'),
  seed: z.number().int().min(0).default(0).describe('of initial weights, data order and dropout'),
  engine: z.enum(engineNames).default('onnx').describe('what computes'),
  provider: z.enum(providerNames).default('cpu').describe('execution provider of the onnx engine'),
  workers: count.default(2).describe('threads that decode and resize images'),
  readAhead: count.default(4).describe('batches prepared ahead'),
  logEverySteps: count.default(10).describe('steps between log lines'),
  saveEverySteps: count.default(500).describe('steps between checkpoints'),
  keepCheckpoints: count.default(2).describe('checkpoints kept'),
  stage1: stageSchema.describe('locked-image tuning: the image tower keeps its weights'),
  stage2: stageSchema.describe('all parameters'),
});

export type PretrainConfig = z.infer<typeof pretrainSchema>;
export type StageConfig = PretrainConfig['stage1'];

/** Settings that change how a run proceeds, not what comes out of it: a resumed run may differ in them. */
export const operationalSettings: readonly (keyof PretrainConfig)[] = [
  'output',
  'workers',
  'readAhead',
  'logEverySteps',
  'saveEverySteps',
  'keepCheckpoints',
];
