import { vocabularyOf } from '../checkpoint/open.js';
import type { ProviderOptions } from '../engine/onnx/sessionOptions.js';
import { UserError } from '../errors.js';
import { findExport, openExport } from '../export/exportedFiles.js';
import { ExportedModel } from '../export/exportedModel.js';
import type { Precision } from '../export/parity.js';
import { requireFit } from '../model/config.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { loadModel } from '../model/load.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';

interface EncoderSettings {
  /** model config of a checkpoint */
  config?: string;
  vocabulary?: string;
  contextLength: number;
  engine: string;
  provider: string;
  providerOptions: ProviderOptions;
  /** of exported files */
  precision?: Precision;
}

/**
 * Opens what a command encodes with, a checkpoint or exported ONNX files, and its vocabulary. The model is the caller's
 * to dispose of.
 *
 * @throws UserError where they are missing or don't fit, or a setting is one of the other kind
 */
export async function openEncoder(
  location: string,
  settings: EncoderSettings,
  warn: (line: string) => void,
): Promise<{ model: DualEncoder; tokenizer: Tokenizer }> {
  const prefix = findExport(location);
  const { model, tokenizer } =
    prefix === undefined
      ? await openCheckpoint(location, settings, warn)
      : await openExported(prefix, settings, warn);
  try {
    requireFit(tokenizer, model.config, settings.contextLength);
    return { model, tokenizer };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

async function openCheckpoint(
  location: string,
  { config, vocabulary, engine, provider, providerOptions, precision }: EncoderSettings,
  warn: (line: string) => void,
): Promise<{ model: DualEncoder; tokenizer: Tokenizer }> {
  if (precision !== undefined) {
    throw new UserError(
      `--precision chooses among exported ONNX files, and ${location} names none: export it with cn-clip export onnx`,
    );
  }
  const tokenizer = await loadTokenizer(vocabulary ?? vocabularyOf(location));
  const model = await loadModel(location, { config, engine, provider, providerOptions, warn });
  return { model, tokenizer };
}

async function openExported(
  prefix: string,
  { config, vocabulary, engine, provider, providerOptions, precision }: EncoderSettings,
  warn: (line: string) => void,
): Promise<{ model: DualEncoder; tokenizer: Tokenizer }> {
  if (engine === 'tfjs') throw new UserError(`${prefix} are ONNX files, which --engine tfjs does not run`);
  if (config !== undefined) {
    throw new UserError(`${prefix} are exported files, which have their own config: leave out ${config}`);
  }
  const exported = openExport(prefix);
  const file = vocabulary ?? exported.vocabulary;
  if (file === undefined) throw new UserError(`${prefix} was exported without vocab.txt: give a vocabulary`);
  const tokenizer = await loadTokenizer(file);
  const model = await ExportedModel.open(exported, { precision, provider, providerOptions, warn });
  return { model, tokenizer };
}
