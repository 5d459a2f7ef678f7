import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { explainIssues } from '../config/explain.js';
import { UserError } from '../errors.js';
import { writeDirectoryAtomic, writeText } from '../io/atomic.js';
import { readJson } from '../io/json.js';
import { openSafetensors, writeSafetensors } from '../io/safetensors.js';
import type { LazyTensor, LazyTensors } from '../io/tensor.js';
import { installedVersion, version } from '../io/version.js';
import type { ModelConfig } from '../model/config.js';
import { preprocessorConfig } from './huggingfaceConfig.js';
import { momentTensors, type TrainingState } from './trainingState.js';

/** The files of a checkpoint directory. */
export const checkpointFiles = {
  weights: 'model.safetensors',
  config: 'config.json',
  vocabulary: 'vocab.txt',
  preprocessing: 'preprocessor_config.json',
  moments: 'optimizer.safetensors',
  adapters: 'adapters.safetensors',
  state: 'state.json',
  versions: 'cn-clip.json',
} as const;

/** Of the directory's layout. */
const FORMAT = 1;

/** Packages whose versions a checkpoint names. */
const VERSIONED = ['onnxruntime-node', '@tensorflow/tfjs-core'];

export interface CheckpointContent {
  weights: LazyTensors;
  config: ModelConfig;
  /** word pieces; weights alone may come without them */
  vocabulary?: readonly string[];
  /** where training stands; a finished model has no optimizer any more */
  training?: TrainingState;
  /** what else the run that writes it needs to know; it stands beside the training state */
  run?: object;
}

const stateSchema = z.object({
  epoch: z.number().int().min(0),
  step: z.number().int().min(0),
  name: z.string().default(''),
  optimizer: z
    .object({
      step: z.number().int().min(0),
      learningRate: z.number(),
      weightDecay: z.number(),
      beta1: z.number(),
      beta2: z.number(),
      epsilon: z.number(),
    })
    .optional(),
});

/**
 * Writes a checkpoint directory, whole or not at all. A directory of that name is replaced. It says of itself all that
 * is needed to use it: config, vocabulary, preprocessing, where training stood, and the versions that wrote it.
 */
export function writeCheckpoint(directory: string, content: CheckpointContent): void {
  const { weights, config, vocabulary, training, run } = content;
  writeDirectoryAtomic(directory, (temporary) => {
    const file = (name: string) => join(temporary, name);
    writeSafetensors(file(checkpointFiles.weights), weights);
    writeJson(file(checkpointFiles.config), config);
    writeJson(file(checkpointFiles.preprocessing), preprocessorConfig(config));
    writeJson(file(checkpointFiles.versions), { format: FORMAT, ...versions() });
    if (vocabulary !== undefined) writeText(file(checkpointFiles.vocabulary), vocabulary.join('\n'));
    if (training === undefined) return;
    const { optimizer, adapters, ...position } = training;
    const { moments, ...factors } = optimizer ?? {};
    if (moments !== undefined) writeSafetensors(file(checkpointFiles.moments), momentTensors({ moments }));
    if (adapters !== undefined) writeSafetensors(file(checkpointFiles.adapters), adapters);
    writeJson(file(checkpointFiles.state), {
      ...run,
      ...position,
      optimizer: moments === undefined ? undefined : factors,
    });
  });
}

/** Where training stood by a directory of ours, or undefined. @throws UserError where its state is damaged */
export function readTrainingState(directory: string): TrainingState | undefined {
  const path = join(directory, checkpointFiles.state);
  if (!existsSync(path)) return undefined;
  const state = stateSchema.safeParse(readState(directory));
  if (!state.success) throw new UserError(`${path} is damaged: ${explainIssues(state.error)}`);
  const { optimizer, ...position } = state.data;
  if (optimizer === undefined) return position;
  const moments = openMoments(join(directory, checkpointFiles.moments));
  const adapters = join(directory, checkpointFiles.adapters);
  return {
    ...position,
    optimizer: { ...optimizer, moments },
    ...(existsSync(adapters) && { adapters: openSafetensors(adapters) }),
  };
}

/** All that a checkpoint's state.json says. @throws UserError where it is missing or no JSON */
export function readState(directory: string): unknown {
  return readJson(join(directory, checkpointFiles.state));
}

/** @throws UserError if a directory was written in a layout that this version does not know */
export function requireFormat(directory: string): void {
  const path = join(directory, checkpointFiles.versions);
  if (!existsSync(path)) return;
  const format = (readJson(path) as { format?: unknown } | null)?.format;
  if (format === FORMAT) return;
  throw new UserError(
    `${path}: format ${JSON.stringify(format)?.slice(0, 100)} is not known here, only ${FORMAT}: update cn-clip`,
  );
}

function openMoments(path: string): Map<string, { first: LazyTensor; second: LazyTensor }> {
  const tensors = openSafetensors(path);
  const moments = new Map<string, { first: LazyTensor; second: LazyTensor }>();
  for (const [key, first] of tensors) {
    if (!key.endsWith('.exp_avg')) continue;
    const name = key.slice(0, -'.exp_avg'.length);
    const second = tensors.get(`${name}.exp_avg_sq`);
    if (second === undefined) throw new UserError(`${path}: tensor '${name}.exp_avg_sq' is missing`);
    moments.set(name, { first, second });
  }
  return moments;
}

function versions(): Record<string, string> {
  const packages = VERSIONED.map((name) => [name, installedVersion(name)]);
  return { 'cn-clip': version, node: process.versions.node, ...Object.fromEntries(packages) };
}

function writeJson(path: string, content: object): void {
  writeText(path, JSON.stringify(content, null, 1));
}
