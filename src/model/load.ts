import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkpointFiles, floats, readTensors, weightsPath } from '../checkpoint/checkpoint.js';
import { isSquareGrid, resizePositionalEmbedding } from '../checkpoint/positionalEmbedding.js';
import type { Engine } from '../engine/engine.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import type { StoredTensor } from '../io/safetensors.js';
import { loadModelConfig, type ModelConfig } from './config.js';
import { inferModelConfig } from './inferConfig.js';
import { Model } from './model.js';
import { initializeParameter, type ParameterSpec, parameterSpecs } from './parameters.js';

export interface LoadOptions {
  /**
   * path of a JSON or YAML model config, or a name; by default config.json beside the weights, else what the shapes
   * of the weights tell
   */
  config?: string;
  /** `onnx` (default), `tfjs` or `auto` */
  engine?: string;
  /** execution provider of the onnx engine, `cpu` by default */
  provider?: string;
  /** told what the user should know, such as weights that were resized; `console.warn` by default */
  warn?: Warn;
}

type Warn = (message: string) => void;

/**
 * Loads a model from a .safetensors file, a PyTorch checkpoint (.pt) of the reference or a checkpoint directory of
 * ours. Half-precision weights become float32.
 *
 * @throws UserError if a file is missing, or naming the tensor that is missing, left over or has another shape
 */
export async function loadModel(weights: string, options: LoadOptions = {}): Promise<Model> {
  const path = weightsPath(weights);
  const warn = options.warn ?? console.warn;
  const stored = readTensors(path);
  const config = loadConfig(options.config, path, stored);
  const values = parameterValues(stored, path, config, warn);
  const engine = await createEngine(options.engine, options.provider, warn);
  return assemble(config, engine, ({ name }) => values.get(name)!);
}

/** A new model with the reference's initialisation, a pure function of the seed. */
export function createModel(config: ModelConfig, engine: Engine, seed: number): Model {
  return assemble(config, engine, (spec) => initializeParameter(spec, seed));
}

/** A model of zeros, for weights that are about to be read into it. */
export function allocateModel(config: ModelConfig, engine: Engine): Model {
  return assemble(config, engine, () => undefined);
}

/** Replaces all weights of a model by those of a file. @throws UserError as `loadModel` */
export function readWeightsInto(model: Model, location: string, warn: Warn = console.warn): void {
  const path = weightsPath(location);
  const values = parameterValues(readTensors(path), path, model.config, warn);
  for (const [name, tensor] of model.weights) tensor.write(values.get(name)!);
}

function assemble(
  config: ModelConfig,
  engine: Engine,
  valuesOf: (spec: ParameterSpec) => Float32Array | undefined,
): Model {
  const weights = parameterSpecs(config).map(
    (spec) => [spec.name, engine.tensor(spec.shape, valuesOf(spec))] as const,
  );
  return new Model(engine, config, new Map(weights));
}

/** The values of all parameters of a config: no tensor of the file may be missing or left over. */
function parameterValues(
  stored: ReadonlyMap<string, StoredTensor>,
  path: string,
  config: ModelConfig,
  warn: Warn,
): Map<string, Float32Array> {
  const values = new Map(
    parameterSpecs(config).map(({ name, shape }) => [name, fit(stored, name, shape, path, warn)] as const),
  );
  // The text tower has no pooler; checkpoints of plain BERT bring one, which the reference drops too.
  const surplus = [...stored.keys()].filter((name) => !values.has(name) && !name.startsWith('bert.pooler.'));
  if (surplus.length > 0) {
    throw new UserError(
      `${path}: the model config has no place for '${surplus[0]}' (${surplus.length} such tensors)`,
    );
  }
  return values;
}

/**
 * A parameter's values; positions for another resolution are resized, as the reference does.
 *
 * @throws UserError if the tensor is missing, has another shape, or is no float tensor
 */
export function fit(
  stored: ReadonlyMap<string, StoredTensor>,
  name: string,
  shape: number[],
  path: string,
  warn: Warn,
): Float32Array {
  const found = stored.get(name)?.shape ?? [];
  const [rows, width] = shape;
  const isOtherGrid =
    name === 'visual.positional_embedding' &&
    found[0] !== rows &&
    found[1] === width &&
    isSquareGrid(found[0]);
  if (!isOtherGrid) return floats(stored, name, shape, path);
  const side = (count: number) => `${Math.sqrt(count - 1)}×${Math.sqrt(count - 1)}`;
  warn(`${path}: ${name} resized from ${side(found[0])} to ${side(rows)} patches`);
  return resizePositionalEmbedding(floats(stored, name, found, path), width, rows);
}

/** The config that was named, the one beside the weights, or the one that their shapes belong to. */
function loadConfig(
  named: string | undefined,
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
): ModelConfig {
  if (named !== undefined) return loadModelConfig(named);
  const beside = join(dirname(path), checkpointFiles.config);
  if (existsSync(beside)) return loadModelConfig(beside);
  return inferModelConfig(new Map([...stored].map(([name, { shape }]) => [name, shape])), path);
}
