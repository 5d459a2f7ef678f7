import { existsSync } from 'node:fs';
import { join, parse } from 'node:path';
import { UserError } from '../errors.js';
import { writeDirectoryAtomic, writeText } from '../io/atomic.js';
import { writeSafetensors } from '../io/safetensors.js';
import { castFloats, isHalf, type LazyTensors } from '../io/tensor.js';
import { isResNet, type ModelConfig, requireVocabularyFit } from '../model/config.js';
import { namedConfig, requireParameters } from '../model/load.js';
import { Tokenizer } from '../text/tokenizer.js';
import { readVocabularyFile } from '../text/vocabularyFile.js';
import { checkpointFiles, writeCheckpoint } from './directory.js';
import { toHuggingFace } from './huggingface.js';
import { preprocessorConfig, toHuggingFaceConfig, tokenizerConfig } from './huggingfaceConfig.js';
import { openCheckpoint } from './open.js';
import { writeTorchCheckpoint } from './torch/writeTorch.js';

export interface ConvertOptions {
  to: 'pt' | 'safetensors' | 'huggingface';
  /** of the weights, by default each tensor's own; the optimizer's memory keeps its own */
  dtype?: 'keep' | 'float32' | 'float16';
  /** model config by name or file; by default the checkpoint's own */
  modelConfig?: string;
  /** vocab.txt or tokenizer.json; by default the checkpoint's own */
  vocabulary?: string;
}

/**
 * Writes a checkpoint in another form, with the same bits unless another precision is asked for: a .pt of the
 * reference (with the optimizer, if the checkpoint has one), a safetensors file or a checkpoint directory of ours, or a
 * Hugging Face folder. One tensor at a time is in memory, and `out` appears whole or not at all.
 *
 * @returns what was written and what was left behind, in lines for the user
 * @throws UserError where `out` exists, the checkpoint is damaged, or the form can't hold it
 */
export function convertCheckpoint(from: string, out: string, options: ConvertOptions): string[] {
  if (existsSync(out)) throw new UserError(`${out} exists already: give another name`);
  const checkpoint = openCheckpoint(from);
  const weights = inPrecision(checkpoint.tensors, options.dtype, checkpoint.path);
  const vocabularyFile = options.vocabulary ?? checkpoint.vocabulary;
  const training = checkpoint.training();
  const notes: string[] = [...checkpoint.notes];
  const note = (text: string) => notes.push(`${out}: ${text}`);

  if (options.to === 'pt') {
    // To the reference, weights alone are a run that has not begun.
    const state = training ?? { epoch: 0, step: 0, name: parse(out).name };
    const optimizer = state.adapters === undefined ? state.optimizer : undefined;
    writeTorchCheckpoint(out, weights, { ...state, optimizer });
    note(`${weights.size} tensors${describe(weights)}`);
    if (state.adapters !== undefined) note('adapters are merged; the form has no place for their optimizer');
    if (optimizer !== undefined) note(`the optimizer after ${optimizer.step} steps`);
    return notes;
  }
  if (options.to === 'safetensors' && out.endsWith('.safetensors')) {
    writeSafetensors(out, weights);
    note(`${weights.size} tensors${describe(weights)}`);
    if (training?.optimizer !== undefined)
      note('without the optimizer, which a checkpoint directory would hold');
    return notes;
  }

  const config = options.modelConfig === undefined ? checkpoint.config() : namedConfig(options.modelConfig);
  const parameters = requireParameters(weights, checkpoint.path, config);
  const vocabulary = vocabularyFile === undefined ? undefined : readVocabulary(vocabularyFile, config);
  if (options.to === 'safetensors') {
    writeCheckpoint(out, { weights: parameters, config, vocabulary, training });
  } else {
    writeHuggingFace(out, parameters, config, vocabulary);
    if (training?.optimizer !== undefined) note('without the optimizer: the form has no place for it');
  }
  note(`${parameters.size} tensors${describe(parameters)}`);
  const dropped = [...weights.keys()].filter((name) => !parameters.has(name));
  if (dropped.length > 0) note(`left out, since the model has no place for them: ${dropped.join(', ')}`);
  if (vocabulary === undefined) {
    note(`no ${checkpointFiles.vocabulary} came with the weights: copy one into it, or give --vocabulary`);
  }
  return notes;
}

/** @throws UserError for a vocabulary that the model's embeddings are too few for */
export function readVocabulary(path: string, config: ModelConfig): readonly string[] {
  const { file, vocabulary: pieces } = readVocabularyFile(path);
  const { vocabulary } = new Tokenizer(pieces, file);
  requireVocabularyFit(vocabulary.length, config, path);
  return vocabulary;
}

/** Writes the folder from which transformers' ChineseCLIPModel and ChineseCLIPProcessor load. */
function writeHuggingFace(
  out: string,
  weights: LazyTensors,
  config: ModelConfig,
  vocabulary: readonly string[] | undefined,
): void {
  if (isResNet(config)) {
    throw new UserError(
      `${out} can't be written: ChineseCLIPModel has no ResNet image tower, only pt and safetensors do`,
    );
  }
  const dtypes = new Set([...weights.values()].map(({ dtype }) => dtype));
  const dtype = dtypes.has('F32') ? 'float32' : dtypes.has('BF16') ? 'bfloat16' : 'float16';
  writeDirectoryAtomic(out, (temporary) => {
    const file = (name: string) => join(temporary, name);
    const json = (name: string, content: object) => writeText(file(name), JSON.stringify(content, null, 2));
    json(checkpointFiles.config, toHuggingFaceConfig(config, dtype));
    json(checkpointFiles.preprocessing, preprocessorConfig(config));
    if (vocabulary !== undefined) {
      writeText(file(checkpointFiles.vocabulary), vocabulary.join('\n'));
      json('tokenizer_config.json', tokenizerConfig);
    }
    // transformers asks which framework wrote the file.
    writeSafetensors(file(checkpointFiles.weights), toHuggingFace(weights), { format: 'pt' });
  });
}

function inPrecision(tensors: LazyTensors, dtype: ConvertOptions['dtype'], path: string): LazyTensors {
  if (dtype === undefined || dtype === 'keep') return tensors;
  const target = dtype === 'float32' ? 'F32' : 'F16';
  return new Map(
    [...tensors].map(([name, tensor]) => [name, castFloats(tensor, target, `${path}: tensor '${name}'`)]),
  );
}

function describe(tensors: LazyTensors): string {
  const halves = [...tensors.values()].filter(({ dtype }) => isHalf(dtype)).length;
  return halves === 0 ? '' : `, ${halves} of them in half precision`;
}
