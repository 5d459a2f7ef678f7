import { UserError } from '../../errors.js';
import { loadModelConfig, type ModelConfig } from '../../model/config.js';

const DATASETS = [
  'cifar-10',
  'cifar-100',
  'dtd',
  'eurosat_clip',
  'fer-2013',
  'fgvc-aircraft-2013b-variants102',
  'kitti-distance',
  'mnist',
  'patch-camelyon',
  'voc-2007-classification',
  'imagenet-1k',
] as const;

/** Zero-shot results in percent that the reference's authors publish (its Results.md), by model, as DATASETS. */
const PUBLISHED: Readonly<Record<string, readonly number[]>> = {
  RN50: [72.7, 40.6, 36.9, 27.0, 21.9, 5.4, 30.2, 50.2, 47.7, 82.1, 33.5],
  'ViT-B-16': [92.0, 64.4, 43.6, 46.9, 47.2, 12.8, 33.5, 67.6, 54.0, 83.3, 48.3],
  'ViT-L-14': [94.9, 75.1, 44.2, 56.9, 54.6, 16.0, 49.9, 69.8, 63.5, 84.5, 54.7],
  'ViT-L-14-336': [94.1, 73.5, 43.8, 50.7, 55.1, 17.1, 49.8, 65.0, 62.9, 84.9, 56.7],
  'ViT-H-14': [96.0, 79.7, 51.2, 52.0, 49.2, 26.2, 39.1, 79.4, 52.4, 84.9, 59.6],
};

const publishedModels: readonly string[] = Object.keys(PUBLISHED);

/** @throws UserError for a --published that no results are of */
export function requirePublished(model: string | undefined): void {
  if (model === undefined || publishedModels.includes(model)) return;
  throw new UserError(`--published ${model}: expected one of ${publishedModels.join(', ')}`);
}

/** The published result of a model on a dataset, in percent, where there is one. */
export function publishedResult(model: string | undefined, dataset: string): number | undefined {
  const column = (DATASETS as readonly string[]).indexOf(dataset);
  return model === undefined || column < 0 ? undefined : PUBLISHED[model]?.[column];
}

/** Which published model has this config: the same towers at the same resolution. */
export function recognizeModel(config: ModelConfig): string | undefined {
  const fields = [
    'embed_dim',
    'image_resolution',
    'vision_layers',
    'vision_width',
    'vision_patch_size',
    'vocab_size',
    'text_hidden_size',
    'text_num_hidden_layers',
  ] as const;
  const key = (of: ModelConfig) => JSON.stringify(fields.map((field) => of[field] ?? null));
  return publishedModels.find((name) => key(loadModelConfig(name)) === key(config));
}
