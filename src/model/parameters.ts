import { Random } from '../random.js';
import { sizeOf } from '../shape.js';
import {
  isResNet,
  type ModelConfig,
  RESNET_REDUCTION,
  RESNET_WIDENING,
  type ResNetConfig,
  type ViTConfig,
} from './config.js';

/** How a new parameter starts, as in the reference (PyTorch's defaults where it sets nothing). */
type Initial =
  | { kind: 'constant'; value: number }
  | { kind: 'normal'; deviation: number }
  | { kind: 'uniform'; bound: number };

/** A parameter or a buffer under the reference's name and layout: linear weights are [out, in]. */
export interface ParameterSpec {
  name: string;
  shape: number[];
  initial: Initial;
}

const zeros: Initial = { kind: 'constant', value: 0 };
const ones: Initial = { kind: 'constant', value: 1 };
const normal = (deviation: number): Initial => ({ kind: 'normal', deviation });
const uniform = (bound: number): Initial => ({ kind: 'uniform', bound });

/** All parameters and buffers of a model, in the reference's order. */
export function parameterSpecs(config: ModelConfig): ParameterSpec[] {
  return [
    {
      name: 'text_projection',
      shape: [config.text_hidden_size, config.embed_dim],
      initial: normal(config.text_hidden_size ** -0.5),
    },
    { name: 'logit_scale', shape: [], initial: { kind: 'constant', value: Math.log(1 / 0.07) } },
    ...(isResNet(config) ? resnetParameters(config) : vitParameters(config)),
    ...textParameters(config),
  ];
}

/** How many values of a model are trained: buffers don't count. */
export function countParameters(config: ModelConfig): number {
  let count = 0;
  for (const { name, shape } of parameterSpecs(config)) if (!isBuffer(name)) count += sizeOf(shape);
  return count;
}

/** Whether a parameter belongs to the image tower, which stage 1 locks. */
export function isVisionParameter(name: string): boolean {
  return name.startsWith('visual.');
}

/** Whether a parameter belongs to the text tower; logit_scale belongs to neither. */
export function isTextParameter(name: string): boolean {
  return !isVisionParameter(name) && name !== 'logit_scale';
}

/**
 * Whether a tensor is a buffer, which is not trained: the running statistics of a batch norm and the count of batches
 * that they come from, or positions that older versions of BERT keep.
 */
export function isBuffer(name: string): boolean {
  return /\.(running_mean|running_var|position_ids)$/.test(name) || isCounter(name);
}

/** Whether a buffer is a count, float32 in memory (exact to 2²⁴) and int64 in checkpoints. */
export function isCounter(name: string): boolean {
  return name.endsWith('.num_batches_tracked');
}

/** Values of a new model: a pure function of the seed and each parameter's name. */
export function initializeParameter({ name, shape, initial }: ParameterSpec, seed: number): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  if (initial.kind === 'constant') return values.fill(initial.value);
  const random = new Random(seed, 'parameter', name);
  for (let i = 0; i < values.length; i++) {
    values[i] =
      initial.kind === 'normal'
        ? random.normal() * initial.deviation
        : (random.uniform() * 2 - 1) * initial.bound;
  }
  return values;
}

function vitParameters(config: ViTConfig): ParameterSpec[] {
  const { vision_width: width, vision_patch_size: patch, embed_dim: embed } = config;
  const tokens = (config.image_resolution / patch) ** 2 + 1;
  const scale = normal(width ** -0.5);
  const blocks = Array.from({ length: config.vision_layers }, (_, i) => {
    const block = `visual.transformer.resblocks.${i}`;
    return [
      {
        name: `${block}.attn.in_proj_weight`,
        shape: [3 * width, width],
        initial: uniform(Math.sqrt(6 / (4 * width))),
      },
      { name: `${block}.attn.in_proj_bias`, shape: [3 * width], initial: zeros },
      { name: `${block}.attn.out_proj.weight`, shape: [width, width], initial: uniform(width ** -0.5) },
      { name: `${block}.attn.out_proj.bias`, shape: [width], initial: zeros },
      ...layerNorm(`${block}.ln_1`, width),
      ...torchLinear(`${block}.mlp.c_fc`, width, 4 * width),
      ...torchLinear(`${block}.mlp.c_proj`, 4 * width, width),
      ...layerNorm(`${block}.ln_2`, width),
    ];
  });
  return [
    { name: 'visual.class_embedding', shape: [width], initial: scale },
    { name: 'visual.positional_embedding', shape: [tokens, width], initial: scale },
    { name: 'visual.proj', shape: [width, embed], initial: scale },
    {
      name: 'visual.conv1.weight',
      shape: [width, 3, patch, patch],
      initial: uniform((3 * patch * patch) ** -0.5),
    },
    ...layerNorm('visual.ln_pre', width),
    ...blocks.flat(),
    ...layerNorm('visual.ln_post', width),
  ];
}

function resnetParameters(config: ResNetConfig): ParameterSpec[] {
  const { vision_width: width, vision_layers: stages, embed_dim: embed } = config;
  const convolution = (name: string, inputs: number, outputs: number, side: number): ParameterSpec => ({
    name: `visual.${name}.weight`,
    shape: [outputs, inputs, side, side],
    initial: uniform((inputs * side * side) ** -0.5),
  });
  const blocks = stages.flatMap((count, stage) => {
    const inner = width * 2 ** stage;
    const outer = 4 * inner;
    return Array.from({ length: count }, (_, i) => {
      const block = `layer${stage + 1}.${i}`;
      const inputs = i > 0 ? outer : stage === 0 ? width : outer / 2;
      return [
        convolution(`${block}.conv1`, inputs, inner, 1),
        ...batchNorm(`${block}.bn1`, inner),
        convolution(`${block}.conv2`, inner, inner, 3),
        ...batchNorm(`${block}.bn2`, inner),
        convolution(`${block}.conv3`, inner, outer, 1),
        // Zero, so that a new block passes on what it is given.
        ...batchNorm(`${block}.bn3`, outer, zeros),
        ...(i === 0
          ? [
              convolution(`${block}.downsample.0`, inputs, outer, 1),
              ...batchNorm(`${block}.downsample.1`, outer),
            ]
          : []),
      ];
    }).flat();
  });
  const stem = Math.floor(width / 2);
  const final = width * RESNET_WIDENING;
  const scale = normal(final ** -0.5);
  const side = config.image_resolution / RESNET_REDUCTION;
  const attention = ['k', 'q', 'v', 'c'].flatMap((part): ParameterSpec[] => {
    const outputs = part === 'c' ? embed : final;
    const name = `visual.attnpool.${part}_proj`;
    return [
      { name: `${name}.weight`, shape: [outputs, final], initial: scale },
      { name: `${name}.bias`, shape: [outputs], initial: uniform(final ** -0.5) },
    ];
  });
  return [
    convolution('conv1', 3, stem, 3),
    ...batchNorm('bn1', stem),
    convolution('conv2', stem, stem, 3),
    ...batchNorm('bn2', stem),
    convolution('conv3', stem, width, 3),
    ...batchNorm('bn3', width),
    ...blocks,
    { name: 'visual.attnpool.positional_embedding', shape: [side ** 2 + 1, final], initial: scale },
    ...attention,
  ];
}

function batchNorm(name: string, width: number, weight = ones): ParameterSpec[] {
  const tensor = (part: string, shape: number[], initial: Initial) => ({
    name: `visual.${name}.${part}`,
    shape,
    initial,
  });
  return [
    tensor('weight', [width], weight),
    tensor('bias', [width], zeros),
    tensor('running_mean', [width], zeros),
    tensor('running_var', [width], ones),
    tensor('num_batches_tracked', [], zeros),
  ];
}

function textParameters(config: ModelConfig): ParameterSpec[] {
  const { text_hidden_size: width, text_intermediate_size: intermediate } = config;
  const initial = normal(config.text_initializer_range);
  const dense = (name: string, inputs: number, outputs: number): ParameterSpec[] => [
    { name: `${name}.weight`, shape: [outputs, inputs], initial },
    { name: `${name}.bias`, shape: [outputs], initial: zeros },
  ];
  const table = (name: string, rows: number): ParameterSpec => ({
    name: `bert.embeddings.${name}_embeddings.weight`,
    shape: [rows, width],
    initial,
  });
  const layers = Array.from({ length: config.text_num_hidden_layers }, (_, i) => {
    const layer = `bert.encoder.layer.${i}`;
    return [
      ...['query', 'key', 'value'].flatMap((part) => dense(`${layer}.attention.self.${part}`, width, width)),
      ...dense(`${layer}.attention.output.dense`, width, width),
      ...layerNorm(`${layer}.attention.output.LayerNorm`, width),
      ...dense(`${layer}.intermediate.dense`, width, intermediate),
      ...dense(`${layer}.output.dense`, intermediate, width),
      ...layerNorm(`${layer}.output.LayerNorm`, width),
    ];
  });
  return [
    table('word', config.vocab_size),
    table('position', config.text_max_position_embeddings),
    table('token_type', config.text_type_vocab_size),
    ...layerNorm('bert.embeddings.LayerNorm', width),
    ...layers.flat(),
  ];
}

function layerNorm(name: string, width: number): ParameterSpec[] {
  return [
    { name: `${name}.weight`, shape: [width], initial: ones },
    { name: `${name}.bias`, shape: [width], initial: zeros },
  ];
}

/** torch.nn.Linear's own initialisation: weight and bias uniform within 1 / sqrt(inputs). */
function torchLinear(name: string, inputs: number, outputs: number): ParameterSpec[] {
  const initial = uniform(inputs ** -0.5);
  return [
    { name: `${name}.weight`, shape: [outputs, inputs], initial },
    { name: `${name}.bias`, shape: [outputs], initial },
  ];
}
