import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Moments } from '../engine/engine.js';
import { UserError } from '../errors.js';
import { writeDirectoryAtomic, writeFileAtomic } from '../io/atomic.js';
import { readSafetensors, type StoredTensor, writeSafetensors } from '../io/safetensors.js';
import type { ModelConfig } from '../model/config.js';
import { isCounter } from '../model/parameters.js';
import { readTorchWeights } from './torch/torchFile.js';
import { isZip } from './torch/zip.js';

/** The files of a checkpoint directory. */
export const checkpointFiles = {
  weights: 'model.safetensors',
  config: 'config.json',
  vocabulary: 'vocab.txt',
  moments: 'optimizer.safetensors',
  state: 'state.json',
} as const;

/** Float32 values with their shape, by parameter name. */
export type WeightMap = ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>;

export interface CheckpointContent {
  weights: WeightMap;
  config: ModelConfig;
  vocabulary: readonly string[];
  /** the trainer's memory; a finished model has none */
  moments?: ReadonlyMap<string, Moments>;
  /** where training stands, as JSON */
  state?: object;
}

/** Writes a checkpoint directory, whole or not at all. A directory of that name is replaced. */
export function writeCheckpoint(directory: string, content: CheckpointContent): void {
  writeDirectoryAtomic(directory, (temporary) => {
    const file = (name: string) => join(temporary, name);
    writeSafetensors(file(checkpointFiles.weights), content.weights);
    writeText(file(checkpointFiles.config), JSON.stringify(content.config, null, 1));
    writeText(file(checkpointFiles.vocabulary), content.vocabulary.join('\n'));
    if (content.moments !== undefined) {
      const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>();
      for (const [name, { first, second }] of content.moments) {
        tensors.set(`${name}.exp_avg`, { shape: first.shape, data: first.read() });
        tensors.set(`${name}.exp_avg_sq`, { shape: second.shape, data: second.read() });
      }
      writeSafetensors(file(checkpointFiles.moments), tensors);
    }
    if (content.state !== undefined) {
      writeText(file(checkpointFiles.state), JSON.stringify(content.state, null, 1));
    }
  });
}

/** Reads AdamW's moments back into a trainer's. @throws UserError naming the tensor that does not fit. */
export function restoreMoments(directory: string, moments: ReadonlyMap<string, Moments>): void {
  const path = join(directory, checkpointFiles.moments);
  const stored = readSafetensors(path);
  for (const [name, { first, second }] of moments) {
    first.write(floats(stored, `${name}.exp_avg`, first.shape, path));
    second.write(floats(stored, `${name}.exp_avg_sq`, second.shape, path));
  }
}

export function readState(directory: string): unknown {
  const path = join(directory, checkpointFiles.state);
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError(`${path} is missing or damaged: ${(error as Error).message}`);
  }
}

/** Where the weights of a checkpoint directory or of a single file lie. @throws UserError if nothing is there. */
export function weightsPath(location: string): string {
  const path = isDirectory(location) ? join(location, checkpointFiles.weights) : location;
  if (existsSync(path)) return path;
  const finished = join(location, 'model');
  if (existsSync(join(finished, checkpointFiles.weights))) {
    throw new UserError(`${location} is the folder of a run: its finished model is ${finished}`);
  }
  throw new UserError(
    `${path} does not exist: give a .safetensors or .pt file, or a checkpoint directory with ${checkpointFiles.weights}`,
  );
}

/** The tensors of a .safetensors file or a PyTorch checkpoint, told apart by their first bytes. */
export function readTensors(path: string): Map<string, StoredTensor> {
  return isZip(path) ? readTorchWeights(path) : readSafetensors(path);
}

export function isDirectory(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/**
 * A stored tensor as float32; a counter may be I64, as PyTorch keeps it.
 *
 * @throws UserError if it is missing, has another shape or type
 */
export function floats(
  stored: ReadonlyMap<string, StoredTensor>,
  name: string,
  shape: readonly number[],
  path: string,
): Float32Array {
  const tensor = stored.get(name);
  if (tensor === undefined) throw new UserError(`${path}: tensor '${name}' is missing`);
  if (tensor.shape.join() !== shape.join()) {
    throw new UserError(
      `${path}: tensor '${name}' has shape [${tensor.shape}], the model config asks for [${shape}]`,
    );
  }
  if (tensor.data instanceof BigInt64Array && isCounter(name)) return Float32Array.from(tensor.data, Number);
  if (!(tensor.data instanceof Float32Array)) {
    throw new UserError(`${path}: tensor '${name}' is ${tensor.dtype}, expected F32, F16 or BF16`);
  }
  return tensor.data;
}

function writeText(path: string, text: string): void {
  writeFileAtomic(path, (append) => append(`${text}\n`));
}
