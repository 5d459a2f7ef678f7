import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { writeTorchCheckpoint } from '../src/checkpoint/torch/writeTorch.js';
import { momentTensors } from '../src/checkpoint/trainingState.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import { type LazyTensor, tensorOf } from '../src/io/tensor.js';
import { readAllOf } from './hostile.js';
import { fixture, randomFloats } from './support.js';

/** A small valid file and what reads all of it. */
export interface Sample {
  name: string;
  path: string;
  bytes: Buffer;
  open: () => void;
}

const values = (...shape: number[]) =>
  tensorOf(
    shape,
    randomFloats(
      shape.reduce((a, b) => a * b, 1),
      'sample',
      ...shape,
    ),
  );

const weights = new Map<string, LazyTensor>([
  ['logit_scale', values()],
  ['visual.conv1.weight', values(2, 3, 2, 2)],
  ['bert.embeddings.word_embeddings.weight', values(5, 4)],
  ['bert.embeddings.LayerNorm.bias', values(4)],
]);

const factors = { step: 3, learningRate: 1e-3, weightDecay: 0.2, beta1: 0.9, beta2: 0.98, epsilon: 1e-6 };
const moments = new Map([...weights].map(([name, tensor]) => [name, { first: tensor, second: tensor }]));

/** Valid files of every kind that readers take, in a folder. */
export function writeSamples(folder: string): Sample[] {
  const sample = (name: string, path: string, open: () => void): Sample => ({
    name,
    path,
    bytes: readFileSync(path),
    open,
  });
  const inFolder = (name: string) => {
    const path = join(folder, name);
    mkdirSync(path);
    return path;
  };
  const pt = join(folder, 'sample.pt');
  const training = { epoch: 1, step: 3, name: 'sample', optimizer: { ...factors, moments } };
  writeTorchCheckpoint(pt, weights, training);
  const legacy = join(folder, 'legacy.bin');
  copyFileSync(fixture('torch', 'legacy.pt'), legacy);
  const script = join(folder, 'script.pt');
  copyFileSync(fixture('torch', 'scripted.pt'), script);
  const plain = join(folder, 'plain.safetensors');
  writeSafetensors(plain, weights, { format: 'pt' });

  const sharded = inFolder('sharded');
  const index = join(sharded, 'model.safetensors.index.json');
  writeSafetensors(join(sharded, 'a.safetensors'), weights);
  const shards = Object.fromEntries([...weights.keys()].map((name) => [name, 'a.safetensors']));
  writeFileSync(index, JSON.stringify({ metadata: { total_size: 1 }, weight_map: shards }));

  const huggingface = inFolder('huggingface');
  writeSafetensors(join(huggingface, 'model.safetensors'), weights);
  const config = join(huggingface, 'config.json');
  const text = { vocab_size: 100, hidden_size: 64, num_attention_heads: 2, hidden_act: 'gelu' };
  const vision = { hidden_size: 64, intermediate_size: 256, num_attention_heads: 2, patch_size: 16 };
  writeFileSync(
    config,
    JSON.stringify({ model_type: 'chinese_clip', text_config: text, vision_config: vision }),
  );

  const directory = inFolder('directory');
  writeSafetensors(join(directory, 'model.safetensors'), weights);
  writeSafetensors(join(directory, 'optimizer.safetensors'), momentTensors({ moments }));
  const state = join(directory, 'state.json');
  writeFileSync(state, JSON.stringify({ epoch: 1, step: 3, name: 'x', optimizer: factors }));
  const versions = join(directory, 'cn-clip.json');
  writeFileSync(versions, JSON.stringify({ format: 1, 'cn-clip': '0.1.0' }));

  return [
    sample('PyTorch', pt, () => readAllOf(pt)),
    sample('PyTorch before 1.6', legacy, () => readAllOf(legacy)),
    sample('TorchScript', script, () => readAllOf(script)),
    sample('safetensors', plain, () => readAllOf(plain)),
    sample('index of shards', index, () => readAllOf(index)),
    sample('Hugging Face config', config, () => openCheckpoint(huggingface).config()),
    sample('training state', state, () => openCheckpoint(directory).training()),
    sample('versions', versions, () => openCheckpoint(directory)),
  ];
}
