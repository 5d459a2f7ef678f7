import { vocabularyOf } from '../checkpoint/open.js';
import type { ProviderOptions } from '../engine/onnx/sessionOptions.js';
import { UserError } from '../errors.js';
import { findExport, openExport, vocabularyOfExport } from '../export/exportedFiles.js';
import { ExportedModel, type ExportedModelOptions } from '../export/exportedModel.js';
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
  /** of exported files */
  optimizeFor?: ExportedModelOptions['optimizeFor'];
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
  const { model, tokenizer, vocabulary } =
    prefix === undefined
      ? await openCheckpoint(location, settings, warn)
      : await openExported(prefix, settings, warn);
  try {
    requireFit(tokenizer, model.config, settings.contextLength, vocabulary);
    return { model, tokenizer };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** What was opened, and where its vocabulary is. */
interface Opened {
  model: DualEncoder;
  tokenizer: Tokenizer;
  vocabulary: string;
}

async function openCheckpoint(
  location: string,
  { config, vocabulary: given, engine, provider, providerOptions, precision }: EncoderSettings,
  warn: (line: string) => void,
): Promise<Opened> {
  if (precision !== undefined) {
    throw new UserError(
      `--precision chooses among exported ONNX files, and ${location} names none: export it with cn-clip export onnx`,
    );
  }
  const vocabulary = given ?? vocabularyOf(location);
  const tokenizer = await loadTokenizer(vocabulary);
  const model = await loadModel(location, { config, engine, provider, providerOptions, warn });
  return { model, tokenizer, vocabulary };
}

async function openExported(
  prefix: string,
  settings: EncoderSettings,
  warn: (line: string) => void,
): Promise<Opened> {
  const { config, vocabulary: given, engine, provider, providerOptions, precision, optimizeFor } = settings;
  if (engine === 'tfjs') throw new UserError(`${prefix} are ONNX files, which --engine tfjs does not run`);
  if (config !== undefined) {
    throw new UserError(`${prefix} are exported files, which have their own config: leave out ${config}`);
  }
  const exported = openExport(prefix);
  const vocabulary = given ?? vocabularyOfExport(exported);
  if (vocabulary === undefined) {
    throw new UserError(`${prefix} was exported without vocab.txt: give a vocabulary`);
  }
  const tokenizer = await loadTokenizer(vocabulary);
  const model = await ExportedModel.open(exported, {
    precision,
    provider,
    providerOptions,
    optimizeFor,
    warn,
  });
  return { model, tokenizer, vocabulary };
}
