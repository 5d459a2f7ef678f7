import { z } from 'zod';
import { engineNames, providerNames } from '../engine/select.js';

// Settings that several commands have: said once, so that help, defaults and checks agree.

/** A command that can do without makes it optional. */
export const checkpoint = z
  .string()
  .describe(
    'checkpoint of any form: directory, Hugging Face folder, .pt, .safetensors; or an official model',
  );

export const modelConfig = z.string().optional().describe("model config; by default the checkpoint's own");

export const vocabulary = z
  .string()
  .optional()
  .describe("vocab.txt or tokenizer.json; by default the checkpoint's own");

/** @param what has the tokens: a text, a prompt */
export function contextLength(what: string) {
  return z.number().int().min(3).default(52).describe(`tokens of a ${what}, [CLS] and [SEP] included`);
}

export const workers = z
  .number()
  .int()
  .positive()
  .default(2)
  .describe('threads that decode and resize images');

export const computing = {
  engine: z.enum(engineNames).default('onnx').describe('what computes'),
  provider: z.enum(providerNames).default('cpu').describe('execution provider of the onnx engine'),
};

/** A list, given as text with commas between its values. */
export function withCommas<T extends z.ZodType<unknown, string>>(list: z.ZodArray<T>) {
  return z
    .string()
    .transform((text) => text.split(',').map((item) => item.trim()))
    .pipe(list);
}
