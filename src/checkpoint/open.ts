import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UserError } from '../errors.js';
import type { LazyTensors } from '../io/tensor.js';
import { type ModelConfig, parseModelConfig, readConfigFile } from '../model/config.js';
import { inferModelConfig } from '../model/inferConfig.js';
import { checkpointFiles, readTrainingState, requireFormat } from './directory.js';
import { openWeights, weightsPath } from './files.js';
import { fromHuggingFace, isHuggingFace } from './huggingface.js';
import { fromHuggingFaceConfig, isHuggingFaceConfig } from './huggingfaceConfig.js';
import type { TrainingState } from './trainingState.js';

/** A checkpoint of any form, opened: what it holds is read when it is asked for. */
export interface Checkpoint {
  /** the file with the weights, for messages */
  path: string;
  /** under the reference's names */
  tensors: LazyTensors;
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
  const { tensors: found, training } = openWeights(path);
  const tensors = isHuggingFace(found) ? fromHuggingFace(found, path) : found;
  const beside = (name: string) => {
    const file = join(folder, name);
    return existsSync(file) ? file : undefined;
  };
  return {
    path,
    tensors,
    vocabulary: beside(checkpointFiles.vocabulary) ?? beside('tokenizer.json'),
    config: () => {
      const file = beside(checkpointFiles.config);
      if (file === undefined) {
        const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
        return inferModelConfig(shapes, path);
      }
      const content = readConfigFile(file);
      return isHuggingFaceConfig(content)
        ? fromHuggingFaceConfig(content, file)
        : parseModelConfig(content, file);
    },
    training: () => training ?? readTrainingState(folder),
  };
}

/** The vocabulary that lies beside a checkpoint's weights. @throws UserError if there is none */
export function vocabularyOf(location: string): string {
  const { vocabulary, path } = openCheckpoint(location);
  if (vocabulary !== undefined) return vocabulary;
  throw new UserError(`${path} has no vocab.txt or tokenizer.json beside it: name one with --vocabulary`);
}
