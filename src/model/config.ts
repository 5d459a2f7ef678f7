import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { explainIssues } from '../config/explain.js';
import { messageOf, UserError } from '../errors.js';
import { isRecord, parseJson } from '../io/json.js';
import { packageRoot } from '../io/packageRoot.js';
import { RangedFile } from '../io/readFile.js';

// The limits are far above any model. A config may come with weights that nobody vouches for, and memory and time
// follow from its numbers.
const size = z
  .number()
  .int()
  .positive()
  .max(2 ** 24);
const layers = size.max(1000);
/** Cells of the image tower's last grid along a side: patches of a ViT, positions of a ResNet. */
const MAX_GRID = 128;
const MAX_CONFIG_BYTES = 1 << 20;
/** By how much a ResNet reduces the side of an image, and how much wider its last stage is than vision_width. */
export const RESNET_REDUCTION = 32;
export const RESNET_WIDENING = 32;
const rate = z.number().min(0).lt(1);

/** The reference's constructor arguments, which its model_configs/*.json and our YAML files give. */
export const modelConfigSchema = z
  .strictObject({
    embed_dim: size.describe('width of the joint embedding'),
    image_resolution: size.describe('side of the input image in pixels'),
    vision_layers: z
      .union([layers, z.tuple([layers, layers, layers, layers])], {
        error:
          'expected a whole number from 1 to 1000 (blocks of a ViT), or four (blocks in the stages of a ResNet)',
      })
      .describe('transformer blocks of a ViT, or residual blocks in the four stages of a ResNet'),
    vision_width: size.describe('width of the ViT, or of the first stage of the ResNet'),
    vision_patch_size: size.nullish().describe('side of a patch in pixels; a ResNet has none'),
    vision_head_width: size.default(64).describe('width of one attention head of the image tower'),
    vocab_size: size.describe('number of word pieces'),
    text_attention_probs_dropout_prob: rate.default(0.1),
    text_hidden_act: z.literal('gelu').default('gelu'),
    text_hidden_dropout_prob: rate.default(0.1),
    text_hidden_size: size,
    text_initializer_range: z.number().positive().default(0.02),
    text_intermediate_size: size,
    text_max_position_embeddings: size,
    text_num_attention_heads: size,
    text_num_hidden_layers: layers,
    text_type_vocab_size: size.default(2),
  })
  .superRefine((config, context) => {
    const issue = (field: keyof typeof config, message: string) =>
      context.addIssue({ code: 'custom', path: [field], message });
    const divides = (a: keyof typeof config, b: keyof typeof config) => {
      if ((config[b] as number) % (config[a] as number) !== 0) {
        issue(a, `${config[a]} does not divide ${b} ${config[b]}`);
      }
    };
    const { vision_patch_size: patch, vision_width: width, vision_head_width: headWidth } = config;
    if (!Array.isArray(config.vision_layers)) {
      if (patch == null) issue('vision_patch_size', 'is missing, expected number');
      else divides('vision_patch_size', 'image_resolution');
      divides('vision_head_width', 'vision_width');
    } else {
      if (patch != null) issue('vision_patch_size', 'a ResNet has no patches, leave it out');
      if (config.image_resolution % RESNET_REDUCTION !== 0) {
        const found = config.image_resolution;
        issue('image_resolution', `${found} is not a multiple of ${RESNET_REDUCTION}, as a ResNet needs it`);
      }
      if ((width * RESNET_WIDENING) % headWidth !== 0) {
        const final = `${RESNET_WIDENING} times vision_width ${width}`;
        issue('vision_head_width', `${headWidth} does not divide ${final}, the width of the last stage`);
      }
    }
    if (config.image_resolution > MAX_GRID * (patch ?? RESNET_REDUCTION)) {
      const found = config.image_resolution;
      issue('image_resolution', `${found} is more than ${MAX_GRID} times ${patch ?? RESNET_REDUCTION}`);
    }
    divides('text_num_attention_heads', 'text_hidden_size');
  });

type Common = Omit<z.infer<typeof modelConfigSchema>, 'vision_layers' | 'vision_patch_size'>;
export type ViTConfig = Common & { vision_layers: number; vision_patch_size: number };
export type ResNetConfig = Common & {
  vision_layers: [number, number, number, number];
  vision_patch_size?: null;
};
export type ModelConfig = ViTConfig | ResNetConfig;

/** Whether the image tower is a ResNet: vision_layers then lists the blocks of its stages. */
export function isResNet(config: ModelConfig): config is ResNetConfig {
  return Array.isArray(config.vision_layers);
}

/** How many patches a picture is cut into; a ViT sees a class token beside them. */
export function patchCount(config: ModelConfig): number {
  if (isResNet(config)) throw new Error('a ResNet has no patches');
  return (config.image_resolution / config.vision_patch_size) ** 2;
}

const directory = join(packageRoot, 'configs', 'models');

/**
 * Loads a model config: the path of a JSON or YAML file in the reference's constructor names, the name of one in
 * configs/models, or VISION+TEXT, two towers of configs/models/vision and configs/models/text.
 *
 * @param defaults what a config may leave open: a small model takes the size of the vocabulary it is trained with
 * @throws UserError naming the file and the field, or listing the known names.
 */
export function loadModelConfig(nameOrPath: string, defaults: { vocabSize?: number } = {}): ModelConfig {
  const vocabulary = defaults.vocabSize === undefined ? {} : { vocab_size: defaults.vocabSize };
  const complete = (content: unknown) => (isRecord(content) ? { ...vocabulary, ...content } : content);
  if (/\.(json|ya?ml)$/.test(nameOrPath))
    return parseModelConfig(complete(readConfigFile(nameOrPath)), nameOrPath);
  const known = join(directory, `${nameOrPath}.yaml`);
  if (!nameOrPath.includes('+') && isKnown('.', nameOrPath)) {
    const content = readConfigFile(known);
    if (isTowers(content)) return composeTowers(content.vision, content.text, known);
    return parseModelConfig(complete(content), known);
  }
  const [vision, text] = nameOrPath.split('+');
  if (text === undefined) {
    throw new UserError(
      `unknown model '${nameOrPath}': give a .json or .yaml file, one of ${names('.').join(', ')}, or VISION+TEXT ` +
        `with a vision tower of ${names('vision').join(', ')} and a text tower of ${names('text').join(', ')}`,
    );
  }
  return composeTowers(vision, text, nameOrPath);
}

/** Checks a parsed config. @throws UserError naming the source and every wrong field. */
export function parseModelConfig(content: unknown, source: string): ModelConfig {
  const result = modelConfigSchema.safeParse(withLayerList(content));
  if (!result.success) throw new UserError(`model config ${source}: ${explainIssues(result.error)}`);
  return result.data as ModelConfig;
}

/**
 * Checks that a model can take what a tokenizer makes.
 *
 * @throws UserError where the vocabulary or the context is larger than the model's tables
 */
export function requireFit(
  tokenizer: { vocabularySize: number },
  config: ModelConfig,
  contextLength: number,
  vocabulary = 'the vocabulary',
): void {
  requireVocabularyFit(tokenizer.vocabularySize, config, vocabulary);
  const { text_max_position_embeddings: positions } = config;
  if (contextLength > positions) {
    throw new UserError(
      `contextLength ${contextLength} exceeds the model's ${positions} positions: give at most ${positions}`,
    );
  }
}

/** @throws UserError naming the vocabulary, where it has more word pieces than the model embeds */
export function requireVocabularyFit(
  size: number,
  { vocab_size: embedded }: ModelConfig,
  source: string,
): void {
  if (size <= embedded) return;
  throw new UserError(
    `${source} has ${size} word pieces, but the model embeds ${embedded}: it is another model's vocabulary, give that of this one`,
  );
}

function composeTowers(vision: string, text: string, source: string): ModelConfig {
  const tower = (kind: string, name: string) => {
    if (isKnown(kind, name)) return readConfigFile(join(directory, kind, `${name}.yaml`)) as object;
    throw new UserError(
      `${source}: unknown ${kind} tower '${name}', expected one of ${names(kind).join(', ')}`,
    );
  };
  return parseModelConfig({ ...tower('vision', vision), ...tower('text', text) }, source);
}

function names(kind: string): string[] {
  return readdirSync(join(directory, kind))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length));
}

function isKnown(kind: string, name: string): boolean {
  return names(kind).includes(name);
}

/** A config file, JSON or YAML, parsed but not checked. @throws UserError where it is missing or neither */
export function readConfigFile(path: string): unknown {
  if (!existsSync(path)) throw new UserError(`model config ${path} does not exist`);
  const file = new RangedFile(path);
  if (file.size > MAX_CONFIG_BYTES) throw new UserError(`model config ${path} has ${file.size} bytes`);
  const bytes = file.read(0, file.size);
  try {
    // What lies beside weights is JSON; a parser of YAML can be made to exhaust stack and memory.
    return path.endsWith('.json') ? parseJson(bytes) : parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new UserError(`model config ${path} is neither JSON nor YAML: ${messageOf(error)}`);
  }
}

function isTowers(content: unknown): content is { vision: string; text: string } {
  return isRecord(content) && 'vision' in content && 'text' in content;
}

/** The reference's RN50.json has its list of layers as text, "[3,4,6,3]". */
function withLayerList(content: unknown): unknown {
  if (!isRecord(content) || typeof content.vision_layers !== 'string') return content;
  const { vision_layers: text } = content;
  return /^\[[\d, ]{1,40}\]$/.test(text)
    ? { ...content, vision_layers: text.slice(1, -1).split(',').map(Number) }
    : content;
}
