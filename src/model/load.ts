import { FloatReader } from '../checkpoint/floatReader.js';
import { floats, requireTensor } from '../checkpoint/floats.js';
import { parseAnyConfig } from '../checkpoint/huggingfaceConfig.js';
import { openCheckpoint } from '../checkpoint/open.js';
import { isSquareGrid, resizePositionalEmbedding } from '../checkpoint/positionalEmbedding.js';
import type { DeviceTensor, Engine } from '../engine/engine.js';
import type { ProviderOptions } from '../engine/onnx/sessionOptions.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { isFloat, type LazyTensor, type LazyTensors } from '../io/tensor.js';
import { loadModelConfig, type ModelConfig, readConfigFile } from './config.js';
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
  /** what the provider is told; one that it does not take is an error */
  providerOptions?: ProviderOptions;
  /** told what the user should know, such as weights that were resized; `console.warn` by default */
  warn?: Warn;
}

type Warn = (message: string) => void;

/**
 * Loads a model: a checkpoint directory of ours, a Hugging Face ChineseCLIPModel folder, a .pt file of the reference,
 * or a safetensors file. Half-precision weights become float32. Tensors are read one by one into their place, so
 * loading takes hardly more memory than the weights.
 *
 * @throws UserError if a file is missing, or naming the tensor that is missing, left over or has another shape
 */
export async function loadModel(location: string, options: LoadOptions = {}): Promise<Model> {
  const warn = options.warn ?? console.warn;
  const { path, config, parameters } = openParameters(location, options.config, warn);
  const engine = createEngine(options.engine, options.provider, warn, options.providerOptions);
  const weights = await readWeights(parameters, path, config, engine, warn);
  const model = new Model(await engine, config, weights);
  await model.expectConstantWeights(true);
  return model;
}

/**
 * The parameters of a checkpoint, checked and not read yet; `fit` reads them. What of the checkpoint is passed over is
 * said.
 *
 * @param given what the model is, or where that is written; by default what the checkpoint says
 * @returns also the path of the file that holds them, for messages
 * @throws UserError as `loadModel`
 */
export function openParameters(
  location: string,
  given: ModelConfig | string | undefined,
  warn: Warn,
): { path: string; config: ModelConfig; parameters: LazyTensors } {
  const checkpoint = openCheckpoint(location);
  const { tensors, path, notes } = checkpoint;
  const config = typeof given === 'string' ? namedConfig(given) : (given ?? checkpoint.config());
  for (const note of notes) warn(note);
  return { path, config, parameters: requireParameters(tensors, path, config, { otherGrid: true }) };
}

/** @param engine may still be starting: reading begins meanwhile */
async function readWeights(
  parameters: LazyTensors,
  path: string,
  config: ModelConfig,
  engine: Promise<Engine>,
  warn: Warn,
): Promise<Map<string, DeviceTensor>> {
  const weights = new Map<string, DeviceTensor>();
  const specs = parameterSpecs(config);
  const reader = new FloatReader(parameters.values());
  const reads: Promise<Float32Array>[] = [];
  try {
    for (const [i, { name, shape }] of specs.entries()) {
      for (const ahead of specs.slice(i + reads.length, i + reader.readAhead)) {
        const values = load(parameters, ahead, path, reader, warn);
        // One that fails is reported when its turn comes, or not at all after another.
        values.catch(() => undefined);
        reads.push(values);
      }
      weights.set(name, (await engine).tensor(shape, await reads.shift()));
    }
  } finally {
    await reader.close();
  }
  return weights;
}

/** Values that `fit` gives, read by the reader where nothing but widening is to be done. */
async function load(
  parameters: LazyTensors,
  { name, shape }: ParameterSpec,
  path: string,
  reader: FloatReader,
  warn: Warn,
): Promise<Float32Array> {
  const tensor = parameters.get(name)!;
  const isPlain = isFloat(tensor.dtype) && !isOtherGrid(parameters, name, shape);
  return isPlain ? reader.read(tensor) : fit(parameters, name, shape, path, warn);
}

/** A new model with the reference's initialisation, a pure function of the seed. */
export function createModel(config: ModelConfig, engine: Engine, seed: number): Model {
  return assemble(config, engine, (spec) => initializeParameter(spec, seed));
}

/** A model of zeros, for weights that are about to be read into it. */
export function allocateModel(config: ModelConfig, engine: Engine): Model {
  return assemble(config, engine, () => undefined);
}

/** Replaces all weights of a model by those of a checkpoint. @throws UserError as `loadModel` */
export function readWeightsInto(model: Model, location: string, warn: Warn = console.warn): void {
  const { path, parameters } = openParameters(location, model.config, warn);
  for (const [name, tensor] of model.weights) {
    tensor.write(fit(parameters, name, tensor.shape, path, warn));
  }
}

/**
 * A parameter's values; positions for another resolution are resized, as the reference does.
 *
 * @throws UserError if the tensor is missing, has another shape, or is no float tensor
 */
export function fit(
  tensors: LazyTensors,
  name: string,
  shape: readonly number[],
  path: string,
  warn: Warn,
): Float32Array {
  if (!isOtherGrid(tensors, name, shape)) return floats(tensors, name, shape, path);
  const found = tensors.get(name)!.shape;
  const [rows, width] = shape;
  const side = (count: number) => `${Math.sqrt(count - 1)}×${Math.sqrt(count - 1)}`;
  warn(`${path}: ${name} resized from ${side(found[0])} to ${side(rows)} patches`);
  return resizePositionalEmbedding(floats(tensors, name, found, path), width, rows);
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

/**
 * The parameters of a config among a file's tensors, in the reference's order. Names and shapes are checked, nothing
 * is read: no tensor of the config may be missing or of another shape, and none of the file left over.
 *
 * @param options.otherGrid accept the image tower's positions for another resolution, to be resized
 * @throws UserError naming the first that does not fit
 */
export function requireParameters(
  tensors: LazyTensors,
  path: string,
  config: ModelConfig,
  { otherGrid = false } = {},
): Map<string, LazyTensor> {
  const parameters = new Map(
    parameterSpecs(config).map(({ name, shape }) => {
      const resizable = otherGrid && isOtherGrid(tensors, name, shape);
      return [name, requireTensor(tensors, name, resizable ? tensors.get(name)!.shape : shape, path)];
    }),
  );
  // The text tower has no pooler; checkpoints of plain BERT bring one, which the reference drops too.
  const surplus = [...tensors.keys()].filter(
    (name) => !parameters.has(name) && !/^bert\.(pooler\.|embeddings\.position_ids$)/.test(name),
  );
  if (surplus.length > 0) {
    throw new UserError(
      `${path}: the model config has no place for '${surplus[0].slice(0, 200)}' (${surplus.length} such tensors)`,
    );
  }
  return parameters;
}

/** Whether a tensor is the image tower's positions for another resolution. */
function isOtherGrid(tensors: LazyTensors, name: string, [rows, width]: readonly number[]): boolean {
  const found = tensors.get(name)?.shape;
  return (
    name === 'visual.positional_embedding' &&
    found?.length === 2 &&
    found[0] !== rows &&
    found[1] === width &&
    isSquareGrid(found[0])
  );
}

/** A config by name or file, Hugging Face's form too. */
export function namedConfig(nameOrPath: string): ModelConfig {
  return nameOrPath.endsWith('.json')
    ? parseAnyConfig(readConfigFile(nameOrPath), nameOrPath)
    : loadModelConfig(nameOrPath);
}
