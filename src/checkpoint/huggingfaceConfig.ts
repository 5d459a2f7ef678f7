import { z } from 'zod';
import { explainIssues } from '../config/explain.js';
import { UserError } from '../errors.js';
import { imageMean, imageStandardDeviation } from '../image/preprocess.js';
import { type ModelConfig, parseModelConfig, type ViTConfig } from '../model/config.js';

const size = z.number().int().positive();

/** The fields of ChineseCLIPConfig that decide what is computed, with its defaults: saved files leave those out. */
const configSchema = z.object({
  model_type: z.literal('chinese_clip'),
  projection_dim: size.default(512),
  text_config: z.object({
    vocab_size: size.default(30522),
    hidden_size: size.default(768),
    num_hidden_layers: size.default(12),
    num_attention_heads: size.default(12),
    intermediate_size: size.default(3072),
    hidden_act: z.literal('gelu').default('gelu'),
    hidden_dropout_prob: z.number().default(0.1),
    attention_probs_dropout_prob: z.number().default(0.1),
    max_position_embeddings: size.default(512),
    type_vocab_size: size.default(2),
    initializer_range: z.number().default(0.02),
    layer_norm_eps: z.literal(1e-12).default(1e-12),
    pad_token_id: z.literal(0).default(0),
    position_embedding_type: z.literal('absolute').default('absolute'),
  }),
  vision_config: z.object({
    hidden_size: size.default(768),
    intermediate_size: size.default(3072),
    num_hidden_layers: size.default(12),
    num_attention_heads: size.default(12),
    image_size: size.default(224),
    patch_size: size.default(32),
    num_channels: z.literal(3).default(3),
    hidden_act: z.literal('quick_gelu').default('quick_gelu'),
    layer_norm_eps: z.literal(1e-5).default(1e-5),
  }),
});

/**
 * The content of a config.json with the towers' configs where newer files have them: text_config_dict and
 * vision_config_dict of older ones stand for a tower's whole config, and override the newer field beside them.
 */
function newerFields(content: unknown): unknown {
  if (typeof content !== 'object' || content === null) return content;
  const fields = content as Record<string, unknown>;
  return {
    ...fields,
    text_config: fields.text_config_dict ?? fields.text_config,
    vision_config: fields.vision_config_dict ?? fields.vision_config,
  };
}

/**
 * The model config of a parsed file: in the form of transformers, which names its kind of model, or in ours, which is
 * the reference's.
 *
 * @throws UserError naming the file and every wrong field
 */
export function parseAnyConfig(content: unknown, path: string): ModelConfig {
  const isHuggingFace = typeof content === 'object' && content !== null && 'model_type' in content;
  return isHuggingFace ? fromHuggingFaceConfig(content, path) : parseModelConfig(content, path);
}

/**
 * The model config that the config.json of a ChineseCLIPModel stands for.
 *
 * @throws UserError for another kind of model, or a setting that the reference's architecture does not have
 */
export function fromHuggingFaceConfig(content: unknown, path: string): ModelConfig {
  const parsed = configSchema.safeParse(newerFields(content));
  if (!parsed.success) {
    throw new UserError(`${path} is no config of a ChineseCLIPModel: ${explainIssues(parsed.error)}`);
  }
  const { projection_dim, text_config: text, vision_config: vision } = parsed.data;
  if (vision.intermediate_size !== 4 * vision.hidden_size) {
    throw new UserError(
      `${path}: vision_config.intermediate_size is ${vision.intermediate_size}, the reference's image tower has ` +
        `four times hidden_size ${vision.hidden_size}`,
    );
  }
  return parseModelConfig(
    {
      embed_dim: projection_dim,
      image_resolution: vision.image_size,
      vision_layers: vision.num_hidden_layers,
      vision_width: vision.hidden_size,
      vision_patch_size: vision.patch_size,
      vision_head_width: vision.hidden_size / vision.num_attention_heads,
      vocab_size: text.vocab_size,
      text_attention_probs_dropout_prob: text.attention_probs_dropout_prob,
      text_hidden_act: text.hidden_act,
      text_hidden_dropout_prob: text.hidden_dropout_prob,
      text_hidden_size: text.hidden_size,
      text_initializer_range: text.initializer_range,
      text_intermediate_size: text.intermediate_size,
      text_max_position_embeddings: text.max_position_embeddings,
      text_num_attention_heads: text.num_attention_heads,
      text_num_hidden_layers: text.num_hidden_layers,
      text_type_vocab_size: text.type_vocab_size,
    },
    path,
  );
}

/** The config.json with which transformers' ChineseCLIPModel.from_pretrained builds a model. */
export function toHuggingFaceConfig(config: ViTConfig, dtype: 'float32' | 'float16' | 'bfloat16'): object {
  return {
    architectures: ['ChineseCLIPModel'],
    initializer_factor: 1.0,
    initializer_range: 0.02,
    logit_scale_init_value: 2.6592,
    model_type: 'chinese_clip',
    projection_dim: config.embed_dim,
    text_config: {
      model_type: 'chinese_clip_text_model',
      vocab_size: config.vocab_size,
      hidden_size: config.text_hidden_size,
      num_hidden_layers: config.text_num_hidden_layers,
      num_attention_heads: config.text_num_attention_heads,
      intermediate_size: config.text_intermediate_size,
      hidden_act: config.text_hidden_act,
      hidden_dropout_prob: config.text_hidden_dropout_prob,
      attention_probs_dropout_prob: config.text_attention_probs_dropout_prob,
      max_position_embeddings: config.text_max_position_embeddings,
      type_vocab_size: config.text_type_vocab_size,
      initializer_range: config.text_initializer_range,
      layer_norm_eps: 1e-12,
      pad_token_id: 0,
    },
    vision_config: {
      model_type: 'chinese_clip_vision_model',
      hidden_size: config.vision_width,
      intermediate_size: 4 * config.vision_width,
      num_hidden_layers: config.vision_layers,
      num_attention_heads: config.vision_width / config.vision_head_width,
      image_size: config.image_resolution,
      patch_size: config.vision_patch_size,
      num_channels: 3,
      hidden_act: 'quick_gelu',
      layer_norm_eps: 1e-5,
      projection_dim: config.embed_dim,
    },
    torch_dtype: dtype,
  };
}

/**
 * What transformers' ChineseCLIPImageProcessor has to be told to do what the reference does: a resize to the square,
 * bicubic (3 in Pillow), without a crop.
 */
export function preprocessorConfig({
  image_resolution: side,
}: Pick<ModelConfig, 'image_resolution'>): object {
  return {
    image_processor_type: 'ChineseCLIPImageProcessor',
    feature_extractor_type: 'ChineseCLIPFeatureExtractor',
    do_resize: true,
    size: { height: side, width: side },
    resample: 3,
    do_center_crop: false,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: imageMean,
    image_std: imageStandardDeviation,
    do_convert_rgb: true,
  };
}

/** tokenizer_config.json of a folder whose vocab.txt is an uncased BERT's. */
export const tokenizerConfig = {
  tokenizer_class: 'BertTokenizer',
  do_lower_case: true,
  tokenize_chinese_chars: true,
  strip_accents: null,
  model_max_length: 512,
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};
