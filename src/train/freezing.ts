import { UserError } from '../errors.js';
import { isResNet, type ModelConfig } from '../model/config.js';
import { isBuffer, isTextParameter, isVisionParameter } from '../model/parameters.js';

/** Which parameters keep their values. What freezes a parameter freezes it whatever the others say. */
export interface Freezing {
  /** the image tower with its projection: locked-image tuning */
  freezeVision: boolean;
  /** the text tower with its projection */
  freezeText: boolean;
  /** the embeddings and the first n blocks of the image tower; of a ResNet, its stem and first n stages */
  freezeVisionBlocks: number;
  /** the embeddings and the first n layers of the text tower */
  freezeTextBlocks: number;
  /** everything but the projections and logit_scale */
  headsOnly: boolean;
  /** statistics of batch norms: they normalise with what they are, as in evaluation */
  freezeBatchNorm: boolean;
}

/** The projections into the common space and logit_scale. */
export function isHead(name: string): boolean {
  return /^(text_projection|logit_scale|visual\.proj|visual\.attnpool\.c_proj\.(weight|bias))$/.test(name);
}

/**
 * The parameters that are trained, in the given order; buffers never are.
 *
 * @throws UserError for more blocks than a tower has, or where nothing but logit_scale would be left
 */
export function trainableParameters(
  names: Iterable<string>,
  config: ModelConfig,
  freezing: Freezing,
): string[] {
  const { freezeVisionBlocks, freezeTextBlocks } = freezing;
  requireBlocks('freezeVisionBlocks', freezeVisionBlocks, visionBlockCount(config));
  requireBlocks('freezeTextBlocks', freezeTextBlocks, config.text_num_hidden_layers);
  const isFrozen = (name: string): boolean =>
    (freezing.freezeVision && isVisionParameter(name)) ||
    (freezing.freezeText && isTextParameter(name)) ||
    (freezing.headsOnly && !isHead(name)) ||
    visionBlockOf(name) < freezeVisionBlocks ||
    textBlockOf(name) < freezeTextBlocks;
  const trainable = [...names].filter((name) => !isBuffer(name) && !isFrozen(name));
  if (trainable.every((name) => name === 'logit_scale')) {
    throw new UserError('nothing is left to train: freeze less');
  }
  return trainable;
}

function visionBlockCount(config: ModelConfig): number {
  return isResNet(config) ? config.vision_layers.length : config.vision_layers;
}

/** The block that a parameter of the image tower belongs to, the first for what lies below; Infinity for all others. */
function visionBlockOf(name: string): number {
  const block = /^visual\.transformer\.resblocks\.(\d+)\./.exec(name);
  if (block !== null) return Number(block[1]);
  const stage = /^visual\.layer(\d+)\./.exec(name);
  if (stage !== null) return Number(stage[1]) - 1;
  const below = /^visual\.(class_embedding|positional_embedding|ln_pre\.|conv\d|bn\d)/;
  return below.test(name) ? 0 : Infinity;
}

function textBlockOf(name: string): number {
  const layer = /^bert\.encoder\.layer\.(\d+)\./.exec(name);
  if (layer !== null) return Number(layer[1]);
  return name.startsWith('bert.embeddings.') ? 0 : Infinity;
}

function requireBlocks(setting: string, count: number, available: number): void {
  if (Number.isInteger(count) && count >= 0 && count <= available) return;
  throw new UserError(
    `${setting} is ${count}, expected a whole number from 0 to the tower's ${available} blocks`,
  );
}
