import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkpointFiles, floats, isDirectory, weightsPath } from '../checkpoint/checkpoint.js';
import type { Engine } from '../engine/engine.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { readSafetensors } from '../io/safetensors.js';
import { loadModelConfig, type ModelConfig } from './config.js';
import { Model } from './model.js';
import { initializeParameter, parameterSpecs } from './parameters.js';

export interface LoadOptions {
  /** path of a JSON or YAML model config, or a name; by default config.json beside the weights */
  config?: string;
  /** `onnx` (default), `tfjs` or `auto` */
  engine?: string;
  /** execution provider of the onnx engine, `cpu` by default */
  provider?: string;
}

/**
 * Loads a model from a .safetensors file or a checkpoint directory. Half-precision weights become float32.
 *
 * @throws UserError if a file is missing, or naming the tensor that is missing, left over or has another shape
 */
export async function loadModel(weights: string, options: LoadOptions = {}): Promise<Model> {
  const path = weightsPath(weights);
  const config = loadModelConfig(options.config ?? configBeside(weights, path));
  const engine = await createEngine(options.engine, options.provider);
  return new Model(engine, config, readWeights(path, config, engine));
}

/** A new model with the reference's initialisation, a pure function of the seed. */
export function createModel(config: ModelConfig, engine: Engine, seed: number): Model {
  const weights = parameterSpecs(config).map(
    (spec) => [spec.name, engine.tensor(spec.shape, initializeParameter(spec, seed))] as const,
  );
  return new Model(engine, config, new Map(weights));
}

/** Replaces all weights of a model by those of a file. */
export function readWeightsInto(model: Model, location: string): void {
  const path = weightsPath(location);
  const stored = readSafetensors(path);
  for (const [name, tensor] of model.weights) tensor.write(floats(stored, name, tensor.shape, path));
}

function readWeights(path: string, config: ModelConfig, engine: Engine) {
  const stored = readSafetensors(path);
  const specs = parameterSpecs(config);
  const expected = new Set(specs.map(({ name }) => name));
  // The text tower has no pooler; checkpoints of plain BERT bring one, which the reference drops too.
  const surplus = [...stored.keys()].filter(
    (name) => !expected.has(name) && !name.startsWith('bert.pooler.'),
  );
  const weights = new Map(
    specs.map(({ name, shape }) => [name, engine.tensor(shape, floats(stored, name, shape, path))] as const),
  );
  if (surplus.length > 0) {
    throw new UserError(
      `${path}: the model config has no place for '${surplus[0]}' (${surplus.length} such tensors)`,
    );
  }
  return weights;
}

function configBeside(weights: string, path: string): string {
  const beside = join(isDirectory(weights) ? weights : dirname(path), checkpointFiles.config);
  if (existsSync(beside)) return beside;
  throw new UserError(`${path} has no ${checkpointFiles.config} beside it: name a model config`);
}
