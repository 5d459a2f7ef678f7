import type { StageConfig } from '../config/training.js';
import { isResNet, type ModelConfig, type ResNetConfig } from '../model/config.js';
import { isLoraTarget } from '../model/lora.js';
import { isBuffer, isTextParameter, isVisionParameter, parameterSpecs } from '../model/parameters.js';
import { sizeOf } from '../shape.js';
import { isHead, trainableParameters } from './freezing.js';
import { keptPatchCount } from './masking.js';
import { completeOptions } from './options.js';

export interface MemoryEstimate {
  /** values of the model */
  parameters: number;
  /** values that are trained: weights, or adapters */
  trained: number;
  /** bytes of weights, gradients and AdamW's memory */
  states: number;
  /** bytes that a step holds for its backward pass */
  activations: number;
  /** bytes of the batch's pictures, and of those read ahead */
  pixels: number;
  total: number;
}

/** What Node.js and ONNX Runtime take, in bytes. */
const BASE = 300e6;

/** Values that a transformer block holds for its backward pass: so many times its width a token, and maps of attention. */
const BLOCK_WIDTHS = 17;
const ATTENTION_MAPS = 2.5;
/** Values that a ResNet holds for each value that a convolution puts out. */
const CONVOLUTION_VALUES = 3;

/**
 * About how much memory a training step takes, from shapes alone. The factors of activations are fitted to peaks measured
 * on the onnx engine: ViT-B-16 + RBT3 with 8 pairs 3.5 GB (3.8 here), RN50 with 8 pairs 2.5 GB (2.6). docs/finetuning.md
 * has more; a locked image tower takes 10 % more than is said here. Texts are counted at their full length; validation
 * and a teacher are not counted.
 */
export function estimateMemory(
  config: ModelConfig,
  settings: StageConfig,
  { contextLength, readAhead }: { contextLength: number; readAhead: number },
): MemoryEstimate {
  const options = completeOptions({ ...settings, totalSteps: 1, teacher: undefined }, config);
  const { lora, frozenPrecision, accumulate, checkpointing, maskRatio } = options;
  const shapes = new Map(parameterSpecs(config).map(({ name, shape }) => [name, shape]));
  const names = trainableParameters(shapes.keys(), config, options);
  const trainedOf = (name: string): number => {
    const shape = shapes.get(name)!;
    if (lora.rank === 0) return sizeOf(shape);
    if (isLoraTarget(name, lora.targets)) return lora.rank * (shape[0] + shape[1]);
    return lora.heads && isHead(name) ? sizeOf(shape) : 0;
  };
  const trained = names.reduce((sum, name) => sum + trainedOf(name), 0);
  const isTrained = new Set(names);
  let parameters = 0;
  let weights = 0;
  for (const [name, shape] of shapes) {
    if (!isBuffer(name)) parameters += sizeOf(shape);
    const isHalf = frozenPrecision === 'float16' && !isTrained.has(name) && !isHead(name);
    weights += sizeOf(shape) * (isHalf ? 2 : 4);
  }
  const adapters = lora.rank === 0 ? 0 : trained * 4;
  const states = weights + adapters + trained * 12;

  const rows = Math.ceil(settings.batchSize / accumulate);
  const vision = isResNet(config)
    ? CONVOLUTION_VALUES * convolutionOutputs(config) * (checkpointing ? 0.5 : 1)
    : transformerValues(
        config.vision_layers,
        config.vision_width,
        config.vision_width / config.vision_head_width,
        keptPatchCount(config, maskRatio) + 1,
        checkpointing,
      );
  const text = transformerValues(
    config.text_num_hidden_layers,
    config.text_hidden_size,
    config.text_num_attention_heads,
    contextLength,
    checkpointing,
  );
  const values = (names.some(isVisionParameter) ? vision : 0) + (names.some(isTextParameter) ? text : 0);
  const activations = values * rows * 4;
  const pixels = settings.batchSize * 3 * config.image_resolution ** 2 * 4 * (1 + readAhead);
  return { parameters, trained, states, activations, pixels, total: BASE + states + activations + pixels };
}

/** Values of one row that the blocks of a transformer hold. */
function transformerValues(
  layers: number,
  width: number,
  heads: number,
  tokens: number,
  checkpointing: boolean,
): number {
  const block = tokens * (BLOCK_WIDTHS * width + ATTENTION_MAPS * heads * tokens);
  // Inputs of all blocks, and one block at a time.
  return checkpointing ? layers * tokens * width + block : layers * block;
}

/** Values of one picture that the convolutions of a ResNet put out. */
function convolutionOutputs({
  image_resolution,
  vision_width: width,
  vision_layers: stages,
}: ResNetConfig): number {
  const half = (image_resolution / 2) ** 2;
  let values = half * width * 2;
  stages.forEach((blocks, i) => {
    const area = (image_resolution / 4 / 2 ** i) ** 2;
    values += blocks * area * width * 2 ** i * 6;
  });
  return values;
}
