import { vocabularyOf } from '../checkpoint/open.js';
import { UserError } from '../errors.js';
import { requireFit } from '../model/config.js';
import { fingerprintOf } from '../model/fingerprint.js';
import { loadModel } from '../model/load.js';
import { Embedder } from '../search/embedder.js';
import type { PictureIndex } from '../search/pictureIndex.js';
import { loadTokenizer } from '../text/tokenizer.js';

interface ModelSettings {
  model?: string;
  modelConfig?: string;
  vocabulary?: string;
  contextLength: number;
  engine: string;
  provider: string;
}

/**
 * Loads model and vocabulary; its `model` is the caller's to dispose of.
 *
 * @throws UserError where they are missing or don't fit
 */
export async function openEmbedder(settings: ModelSettings, warn: (line: string) => void): Promise<Embedder> {
  const { model: location, modelConfig, vocabulary, contextLength, engine, provider } = settings;
  if (location === undefined) throw new UserError('give --model');
  const tokenizer = await loadTokenizer(vocabulary ?? vocabularyOf(location));
  const model = await loadModel(location, { config: modelConfig, engine, provider, warn });
  try {
    requireFit(tokenizer, model.config, contextLength);
  } catch (error) {
    await model.dispose();
    throw error;
  }
  return new Embedder(model, tokenizer, contextLength);
}

/** Loads the model of an index, from where the index says or the settings do. @throws UserError where it is another */
export async function openIndexEmbedder(
  { manifest }: PictureIndex,
  settings: Omit<ModelSettings, 'contextLength'>,
  warn: (line: string) => void,
): Promise<Embedder> {
  const { location, config, vocabulary, contextLength } = manifest.model;
  const found = await openEmbedder(
    {
      ...settings,
      model: settings.model ?? location,
      modelConfig: settings.modelConfig ?? config,
      vocabulary: settings.vocabulary ?? vocabulary,
      contextLength,
    },
    warn,
  );
  if (fingerprintOf(found.model, found.tokenizer, contextLength) === manifest.fingerprint) return found;
  await found.model.dispose();
  throw new UserError(
    `${settings.model ?? location} is not the model that the index was made with: name that one with --model, or run ` +
      'cn-clip index again',
  );
}
