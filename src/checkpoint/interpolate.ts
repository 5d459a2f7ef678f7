import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { UserError } from '../errors.js';
import { bytesOf } from '../io/readFile.js';
import { isFloat, type LazyTensor, type LazyTensors, readValues } from '../io/tensor.js';
import { requireParameters } from '../model/load.js';
import { readVocabulary } from './convert.js';
import { writeCheckpoint } from './directory.js';
import { type Checkpoint, openCheckpoint } from './open.js';

/**
 * Interpolates between two checkpoints of one architecture, as WiSE-FT (Wortsman et al., 2022) does between a model and
 * its finetuned form: weights (1 − α) · A + α · B, in float32. α = 0 and α = 1 give A and B with their own bits. Counters
 * are those of the nearer. One tensor at a time is in memory; vocabulary and config are A's.
 *
 * @param out a checkpoint directory to write; with several alphas, a folder for `alpha-…` directories
 * @returns the directories written
 * @throws UserError where the two don't fit each other, an alpha lies outside [0, 1], or a directory exists
 */
export function interpolateCheckpoints(
  a: string,
  b: string,
  out: string,
  alphas: readonly number[] = [0.5],
): string[] {
  const wrong = alphas.find((alpha) => !(alpha >= 0 && alpha <= 1));
  if (wrong !== undefined) throw new UserError(`alpha is ${wrong}, expected a number from 0 to 1`);
  const directories = new Map(
    alphas.map((alpha) => [alphas.length === 1 ? out : join(out, `alpha-${alpha}`), alpha]),
  );
  for (const directory of directories.keys()) {
    if (existsSync(directory)) throw new UserError(`${directory} exists already: give another name`);
  }
  const [from, to] = [openCheckpoint(a), openCheckpoint(b)];
  const config = from.config();
  if (!isDeepStrictEqual(config, to.config())) {
    throw new UserError(`${from.path} and ${to.path} are models of different configs: interpolate like ones`);
  }
  const weightsOf = ({ tensors, path }: Checkpoint) => requireParameters(tensors, path, config);
  const [first, second] = [weightsOf(from), weightsOf(to)];
  const vocabulary = from.vocabulary === undefined ? undefined : readVocabulary(from.vocabulary, config);
  for (const [directory, alpha] of directories) {
    writeCheckpoint(directory, { weights: interpolated(first, second, alpha), config, vocabulary });
  }
  return [...directories.keys()];
}

function interpolated(first: LazyTensors, second: LazyTensors, alpha: number): LazyTensors {
  return new Map([...first].map(([name, tensor]) => [name, between(tensor, second.get(name)!, alpha)]));
}

function between(a: LazyTensor, b: LazyTensor, alpha: number): LazyTensor {
  if (alpha === 0 || alpha === 1 || !isFloat(a.dtype)) return alpha < 0.5 ? a : b;
  return {
    shape: a.shape,
    dtype: 'F32',
    read: () => {
      const [from, to] = [readValues(a), readValues(b)] as Float32Array[];
      return bytesOf(from.map((value, i) => (1 - alpha) * value + alpha * to[i]));
    },
  };
}
