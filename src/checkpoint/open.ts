import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UserError } from '../errors.js';
import type { LazyTensors } from '../io/tensor.js';
import { type ModelConfig, readConfigFile } from '../model/config.js';
import { inferModelConfig } from '../model/inferConfig.js';
import { checkpointFiles, readTrainingState, requireFormat } from './directory.js';
import { openWeights, weightsPath } from './files.js';
import { fromHuggingFace, isHuggingFace } from './huggingface.js';
import { parseAnyConfig } from './huggingfaceConfig.js';
import type { TrainingState } from './trainingState.js';

/** A checkpoint of any form, opened: what it holds is read when it is asked for. */
export interface Checkpoint {
  /** the file with the weights, for messages */
  path: string;
  /** under the reference's names */
  tensors: LazyTensors;
  /** what of the file is passed over, for the user to know */
  notes: string[];
  /** vocab.txt or tokenizer.json beside the weights */
  vocabulary: string | undefined;
  /** the config beside the weights, or what their shapes tell. @throws UserError where neither says it */
  config(): ModelConfig;
  /** where training stood, if that is known */
  training(): TrainingState | undefined;
}

/**
 * Opens a checkpoint: a directory of ours, a Hugging Face folder, a .pt file of the reference (also a released one), or
 * a safetensors file; what it is shows in its content.
 *
 * @throws UserError if nothing is there or it is damaged
 */
export function openCheckpoint(location: string): Checkpoint {
  const path = weightsPath(location);
  const folder = dirname(path);
  requireFormat(folder);
  const { tensors: found, training, passedOver = [] } = openWeights(path);
  const tensors = isHuggingFace(found) ? fromHuggingFace(found, path) : found;
  return {
    path,
    tensors,
    notes: passedOver.length === 0 ? [] : [describePassedOver(path, passedOver)],
    vocabulary: vocabularyIn(folder),
    config: () => {
      const file = fileIn(folder, checkpointFiles.config);
      if (file === undefined) {
        const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
        return inferModelConfig(shapes, path);
      }
      return parseAnyConfig(readConfigFile(file), file);
    },
    training: () => training ?? readTrainingState(folder),
  };
}

function describePassedOver(path: string, names: readonly string[]): string {
  const some = names.slice(0, 3).map((name) => name.slice(0, 200));
  const more = names.length > some.length ? ', …' : '';
  return `${path}: ${names.length} tensors in nested dictionaries are passed over: ${some.join(', ')}${more}`;
}

/** The vocabulary that lies beside a checkpoint's weights. @throws UserError if there is none */
export function vocabularyOf(location: string): string {
  const path = weightsPath(location);
  const vocabulary = vocabularyIn(dirname(path));
  if (vocabulary !== undefined) return vocabulary;
  throw new UserError(`${path} has no vocab.txt or tokenizer.json beside it: name one with --vocabulary`);
}

function vocabularyIn(folder: string): string | undefined {
  return fileIn(folder, checkpointFiles.vocabulary) ?? fileIn(folder, 'tokenizer.json');
}

function fileIn(folder: string, name: string): string | undefined {
  const file = join(folder, name);
  return existsSync(file) ? file : undefined;
}
