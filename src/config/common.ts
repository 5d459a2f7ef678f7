import { z } from 'zod';
import { bufferCacheModes, layouts, providerNames, validationModes } from '../engine/onnx/sessionOptions.js';
import { engineNames } from '../engine/select.js';
import { precisions } from '../export/parity.js';

// Settings that several commands have: said once, so that help, defaults and checks agree.

/** A command that can do without makes it optional. */
export const checkpoint = z
  .string()
  .describe(
    'checkpoint of any form: directory, Hugging Face folder, .pt, .safetensors; or an official model',
  );

/** What a command that only encodes takes. */
export const encoder = z
  .string()
  .describe(`${checkpoint.description}; or what cn-clip export onnx wrote, by its folder or prefix`);

export const precision = z
  .enum(precisions)
  .optional()
  .describe('of exported ONNX files: by default fp32, or the only one that was exported');

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

export const provider = z
  .enum(providerNames)
  .default('cpu')
  .describe('execution provider of the onnx engine');

/** All that onnxruntime-node hands on; one that the provider does not take is an error. */
export const providerOptions = z
  .strictObject({
    deviceId: z
      .number()
      .int()
      .min(0)
      .max(1023)
      .optional()
      .describe('GPU of cuda and tensorrt, counted from 0'),
    cpuFallback: z
      .boolean()
      .optional()
      .describe('false: an operation that the provider lacks is an error, by default the CPU computes it'),
    preferredLayout: z.enum(layouts).optional().describe('order of dimensions for convolutions on webgpu'),
    validationMode: z.enum(validationModes).optional().describe('how much webgpu checks; basic by default'),
    storageBufferCacheMode: z
      .enum(bufferCacheModes)
      .optional()
      .describe('how webgpu keeps freed memory; bucket by default, simple takes less for one shape'),
  })
  .prefault({});

export const computing = {
  engine: z.enum(engineNames).default('onnx').describe('what computes'),
  provider,
  providerOptions,
};

/** A list, given as text with commas between its values. */
export function withCommas<T extends z.ZodType<unknown, string>>(list: z.ZodArray<T>) {
  return z
    .string()
    .transform((text) => text.split(',').map((item) => item.trim()))
    .pipe(list);
}
