import { floats, requireTensor } from '../checkpoint/floats.js';
import { type DeviceTensor, type Engine, lazyTensor } from '../engine/engine.js';
import type { LazyTensors } from '../io/tensor.js';
import { adapterNames } from '../nn/layers.js';
import { Random } from '../random.js';
import type { Model } from './model.js';

/** Which weights of a block get an adapter. */
export const loraTargets = ['all', 'attention', 'mlp'] as const;

export interface LoraOptions {
  /** of the updates; 0 trains the weights themselves */
  rank: number;
  /** updates are scaled by alpha / rank */
  alpha: number;
  targets: (typeof loraTargets)[number];
  /** train the projections and logit_scale, too */
  heads: boolean;
}

const projections = {
  attention:
    /\.(attn\.in_proj_weight|attn\.out_proj\.weight|attention\.self\.(query|key|value)\.weight|attention\.output\.dense\.weight)$/,
  mlp: /\.(mlp\.c_(fc|proj)\.weight|\d+\.(intermediate|output)\.dense\.weight)$/,
};

/** Whether a parameter is the weight of a block's projection of the given kind. Those of convolutions are not. */
export function isLoraTarget(name: string, targets: LoraOptions['targets']): boolean {
  return (
    (targets !== 'mlp' && projections.attention.test(name)) ||
    (targets !== 'attention' && projections.mlp.test(name))
  );
}

/**
 * New adapters for the named weights: the update is zero at first. `lora_A` is uniform within 1 / √in as in the paper's
 * code, a pure function of the seed and the weight's name; `lora_B` is zero.
 */
export function createAdapters(
  weights: ReadonlyMap<string, DeviceTensor>,
  names: Iterable<string>,
  { rank, alpha }: LoraOptions,
  engine: Engine,
  seed: number,
): Map<string, DeviceTensor> {
  const adapters = new Map<string, DeviceTensor>();
  for (const name of names) {
    const [outputs, inputs] = weights.get(name)!.shape;
    const random = new Random(seed, 'adapter', name);
    const bound = inputs ** -0.5;
    const values = Float32Array.from({ length: rank * inputs }, () => (random.uniform() * 2 - 1) * bound);
    adapters.set(adapterNames.a(name), engine.tensor([rank, inputs], values));
    adapters.set(adapterNames.b(name), engine.tensor([outputs, rank]));
    adapters.set(adapterNames.scale(name), engine.tensor([], Float32Array.of(alpha / rank)));
  }
  return adapters;
}

/** A weight with its adapter's update added, scale · b · a; a copy, or the values themselves where it has none. */
export function mergedValues(
  name: string,
  weight: DeviceTensor,
  adapters: ReadonlyMap<string, DeviceTensor>,
): Float32Array {
  const [a, b] = [adapters.get(adapterNames.a(name)), adapters.get(adapterNames.b(name))];
  if (a === undefined || b === undefined) return weight.read();
  const [rank, inputs] = a.shape;
  const [down, up] = [a.read(), b.read()];
  const scale = adapters.get(adapterNames.scale(name))!.read()[0];
  const merged = weight.read().slice();
  const row = new Float64Array(inputs);
  for (let i = 0; i < b.shape[0]; i++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * up[i * rank + r];
      for (let j = 0; j < inputs; j++) row[j] += factor * down[r * inputs + j];
    }
    for (let j = 0; j < inputs; j++) merged[i * inputs + j] += row[j];
  }
  return merged;
}

/** A model's adapters, and as `NAME.lora_base` the weights below them, as a checkpoint holds them; or undefined. */
export function adapterTensors(model: Model): LazyTensors | undefined {
  if (model.adapters.size === 0) return undefined;
  return new Map([...tensorsWithBases(model)].map(([name, tensor]) => [name, lazyTensor(tensor)]));
}

/**
 * Takes over the values that `adapterTensors` gave, to the bit.
 *
 * @param path of their file, for messages
 * @throws UserError if one is missing or of another shape: nothing is changed then
 */
export function readAdaptersInto(model: Model, stored: LazyTensors, path: string): void {
  const tensors = tensorsWithBases(model);
  for (const [name, { shape }] of tensors) requireTensor(stored, name, shape, path);
  for (const [name, tensor] of tensors) tensor.write(floats(stored, name, tensor.shape, path));
}

function tensorsWithBases({ adapters, weights }: Model): Map<string, DeviceTensor> {
  const bases = [...weights]
    .filter(([name]) => adapters.has(adapterNames.a(name)))
    .map(([name, weight]) => [`${name}.lora_base`, weight] as const);
  return new Map([...adapters, ...bases]);
}
