import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../errors.js';
import { resolveOfficialModel } from '../hub/cache.js';
import { officialModels } from '../hub/models.js';
import { readJson } from '../io/json.js';
import { isSafetensorsFile, openSafetensors } from '../io/safetensors.js';
import type { LazyTensor } from '../io/tensor.js';
import { isTorchFile, openTorchFile } from './torch/read.js';
import type { TrainingState } from './trainingState.js';

/** Files that hold the weights of a folder, the first that is there: our own and Hugging Face's names. */
const WEIGHT_FILES = [
  /^model\.safetensors$/,
  /^model\.safetensors\.index\.json$/,
  /^clip_cn_.*\.pt$/,
  /^pytorch_model\.bin$/,
  /^pytorch_model\.bin\.index\.json$/,
];

const MAX_INDEX_BYTES = 4 << 20;
const MAX_SHARDS = 1000;
/** Longer names no file system has. */
const MAX_FILE_NAME = 255;

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** What a file of weights holds, under the names it has there. */
export interface FileContent {
  tensors: ReadonlyMap<string, LazyTensor>;
  training?: TrainingState;
  /** names of tensors in dictionaries of a .pt that are not read */
  passedOver?: string[];
}

/**
 * The file with the weights of a location: the file itself, the one that a folder holds, or that of an official model
 * in the cache, by its name.
 *
 * @throws UserError if nothing is there, with what was expected
 */
export function weightsPath(location: string): string {
  if (!existsSync(location)) {
    if (isOfficialName(location)) return resolveOfficialModel(location).weights;
    throw new UserError(
      `${location} does not exist: give a checkpoint directory, a Hugging Face folder, a .safetensors, .pt or .bin ` +
        `file, or an official model (${officialModels.map(({ name }) => name).join(', ')})`,
    );
  }
  if (!isDirectory(location)) {
    if (!location.endsWith('.onnx')) return location;
    throw new UserError(
      `${location}: ONNX files can't be read back, name the checkpoint that it was exported from`,
    );
  }
  const names = readdirSync(location).sort();
  for (const pattern of WEIGHT_FILES) {
    const found = names.filter((name) => pattern.test(name));
    if (found.length > 1) {
      const some = found.slice(0, 5).join(', ');
      throw new UserError(`${location} holds several models (${some}): name one of the files`);
    }
    if (found.length === 1) return join(location, found[0]);
  }
  const finished = join(location, 'model');
  if (existsSync(join(finished, 'model.safetensors'))) {
    throw new UserError(`${location} is the folder of a run: its finished model is ${finished}`);
  }
  const onnx = names.some((name) => name.endsWith('.onnx'))
    ? "; ONNX files, as there, can't be read back: name the checkpoint that they were exported from"
    : '';
  throw new UserError(
    `${location} holds no weights: expected model.safetensors, pytorch_model.bin, an index of their shards, or ` +
      `clip_cn_*.pt${onnx}`,
  );
}

/**
 * Opens a file of weights, whatever its form: safetensors, PyTorch (also TorchScript, and files older than PyTorch
 * 1.6), or the index of sharded ones. What it is shows in its first bytes, not in its name.
 *
 * @throws UserError naming file and tensor where it is damaged
 */
export function openWeights(path: string): FileContent {
  if (path.endsWith('.index.json')) return { tensors: openShards(path) };
  if (isTorchFile(path)) return openTorchFile(path);
  if (path.endsWith('.safetensors') || isSafetensorsFile(path)) return { tensors: openSafetensors(path) };
  throw new UserError(
    `${path} holds no weights: it is neither a safetensors file nor one that torch.save wrote`,
  );
}

function isOfficialName(name: string): boolean {
  return officialModels.some((model) => model.name === name);
}

/** Whether a folder with files of these names is a checkpoint. */
export function holdsWeights(names: readonly string[]): boolean {
  return WEIGHT_FILES.some((pattern) => names.some((name) => pattern.test(name)));
}

export function isDirectory(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/**
 * Opens the shards that a Hugging Face index names, which must lie beside it.
 *
 * @throws UserError for an index of another form, a shard elsewhere, or a tensor that its shard lacks
 */
function openShards(path: string): Map<string, LazyTensor> {
  const { weight_map: shardOf } = readIndex(path);
  const names = new Set(Object.values(shardOf));
  if (names.size > MAX_SHARDS) throw new UserError(`${path} names ${names.size} files`);
  const shards = new Map<string, FileContent['tensors']>();
  for (const name of names) {
    // A file of the same folder, and not another index.
    const isBeside = name === basename(name) && !name.includes('\\') && name.length <= MAX_FILE_NAME;
    if (!isBeside || !/\.(safetensors|bin)$/.test(name)) {
      throw new UserError(`${path}: ${JSON.stringify(name.slice(0, 200))} is no file of weights beside it`);
    }
    shards.set(name, openWeights(join(dirname(path), name)).tensors);
  }
  return new Map(
    Object.entries(shardOf).map(([tensor, name]) => {
      const found = shards.get(name)!.get(tensor);
      if (found === undefined) {
        throw new UserError(`${path}: tensor "${tensor.slice(0, 200)}" is not in ${name}`);
      }
      return [tensor, found];
    }),
  );
}

function readIndex(path: string): z.infer<typeof indexSchema> {
  const index = indexSchema.safeParse(readJson(path, MAX_INDEX_BYTES));
  if (index.success) return index.data;
  throw new UserError(`${path} is no index of shards: expected {"weight_map": {tensor: file}}`);
}
