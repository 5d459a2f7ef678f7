import { UserError } from '../errors.js';
import { type ModelConfig, parseModelConfig, RESNET_REDUCTION } from './config.js';

/** Head widths of the official image towers by width; shapes of weights don't show them. */
const VISION_HEAD_WIDTHS: Readonly<Record<number, number>> = { 768: 64, 1024: 64, 1280: 80 };
/** Of every ResNet of CLIP. */
const RESNET_HEAD_WIDTH = 64;
/** Heads of the official text towers by hidden size. */
const TEXT_HEADS: Readonly<Record<number, number>> = { 768: 12, 1024: 16 };

/**
 * The model config that the shapes of a checkpoint's weights belong to, where it is one of the official sizes.
 *
 * @param shapes by the reference's parameter names
 * @throws UserError with the reason where it can't be told
 */
export function inferModelConfig(
  shapes: ReadonlyMap<string, readonly number[]>,
  source: string,
): ModelConfig {
  const fail = (reason: string) =>
    new UserError(`${source}: the model config can't be inferred, since ${reason}: name a model config`);
  const shape = (name: string, rank: number): readonly number[] => {
    const found = shapes.get(name);
    if (found?.length === rank) return found;
    throw fail(found === undefined ? `'${name}' is missing` : `'${name}' has shape [${found}]`);
  };
  const layers = (pattern: RegExp): number => {
    let last = -1;
    for (const name of shapes.keys()) last = Math.max(last, Number(pattern.exec(name)?.[1] ?? -1));
    return last + 1;
  };
  const [hidden, embed] = shape('text_projection', 2);
  const vit = () => {
    const [width, , patch] = shape('visual.conv1.weight', 4);
    const [tokens] = shape('visual.positional_embedding', 2);
    const headWidth = VISION_HEAD_WIDTHS[width];
    if (headWidth === undefined)
      throw fail(`the head width of an image tower of width ${width} is not known`);
    return {
      image_resolution: patch * Math.sqrt(tokens - 1),
      vision_layers: layers(/^visual\.transformer\.resblocks\.(\d+)\./),
      vision_width: width,
      vision_patch_size: patch,
      vision_head_width: headWidth,
    };
  };
  const resnet = () => ({
    image_resolution: RESNET_REDUCTION * Math.sqrt(shape('visual.attnpool.positional_embedding', 2)[0] - 1),
    vision_layers: [1, 2, 3, 4].map((stage) => layers(new RegExp(`^visual\\.layer${stage}\\.(\\d+)\\.`))),
    vision_width: shape('visual.layer1.0.conv1.weight', 4)[0],
    vision_head_width: RESNET_HEAD_WIDTH,
  });
  const vision = shapes.has('visual.layer1.0.conv1.weight') ? resnet() : vit();
  const heads = TEXT_HEADS[hidden];
  if (heads === undefined) throw fail(`the number of heads of a text tower of width ${hidden} is not known`);
  return parseModelConfig(
    {
      embed_dim: embed,
      ...vision,
      vocab_size: shape('bert.embeddings.word_embeddings.weight', 2)[0],
      text_hidden_size: hidden,
      text_intermediate_size: shape('bert.encoder.layer.0.intermediate.dense.weight', 2)[0],
      text_max_position_embeddings: shape('bert.embeddings.position_embeddings.weight', 2)[0],
      text_num_attention_heads: heads,
      text_num_hidden_layers: layers(/^bert\.encoder\.layer\.(\d+)\./),
      text_type_vocab_size: shape('bert.embeddings.token_type_embeddings.weight', 2)[0],
    },
    `inferred from ${source}`,
  );
}
