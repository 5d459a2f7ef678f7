import type { ProviderOptions } from '../engine/onnx/sessionOptions.js';
import { UserError } from '../errors.js';
import type { ExportedModelOptions } from '../export/exportedModel.js';
import type { Precision } from '../export/parity.js';
import { fingerprintOf } from '../model/fingerprint.js';
import { Embedder } from '../search/embedder.js';
import type { PictureIndex } from '../search/pictureIndex.js';
import { openEncoder } from './encoder.js';

interface ModelSettings {
  model?: string;
  precision?: Precision;
  modelConfig?: string;
  vocabulary?: string;
  contextLength: number;
  engine: string;
  provider: string;
  providerOptions: ProviderOptions;
  optimizeFor?: ExportedModelOptions['optimizeFor'];
}

/**
 * Loads model and vocabulary; its `model` is the caller's to dispose of.
 *
 * @throws UserError where they are missing or don't fit
 */
export async function openEmbedder(settings: ModelSettings, warn: (line: string) => void): Promise<Embedder> {
  const { model: location, modelConfig: config, contextLength } = settings;
  if (location === undefined) throw new UserError('give --model');
  const { model, tokenizer } = await openEncoder(location, { ...settings, config }, warn);
  return new Embedder(model, tokenizer, contextLength);
}

/** Loads the model of an index, from where the index says or the settings do. @throws UserError where it is another */
export async function openIndexEmbedder(
  { manifest }: PictureIndex,
  settings: Omit<ModelSettings, 'contextLength'>,
  warn: (line: string) => void,
): Promise<Embedder> {
  const { location, precision, config, vocabulary, contextLength } = manifest.model;
  const model = settings.model ?? location;
  const chosen = settings.precision ?? precision;
  const found = await openEmbedder(
    {
      ...settings,
      model,
      precision: chosen,
      modelConfig: settings.modelConfig ?? config,
      vocabulary: settings.vocabulary ?? vocabulary,
      contextLength,
    },
    warn,
  );
  if (fingerprintOf(found.model, found.tokenizer, contextLength) === manifest.fingerprint) return found;
  await found.model.dispose();
  throw new UserError(
    `${model}${chosen === undefined ? '' : ` in ${chosen}`} is not the model that the index was made with: name that ` +
      'one with --model and --precision, or run cn-clip index again',
  );
}
