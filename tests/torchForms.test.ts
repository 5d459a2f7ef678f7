import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { openTorchFile } from '../src/checkpoint/torch/read.js';
import { UserError } from '../src/errors.js';
import { openSafetensors } from '../src/io/safetensors.js';
import type { LazyTensors } from '../src/io/tensor.js';
import { assertSameTensors } from './support.js';
import { torchFixture } from './torchFixtures.js';

/** What PyTorch reads of a file, under the names that it has here. */
function twin(name: string): LazyTensors {
  const tensors = openSafetensors(torchFixture(`${name}.expected.safetensors`));
  const weights = [...tensors].filter(([key]) => !key.startsWith('optimizer/'));
  return new Map(
    weights.map(([key, tensor]) => [key.replace(/^state_dict\//, '').replace(/^module\./, ''), tensor]),
  );
}

/** Files by their twins. */
const forms: [form: string, file: string, twin: string][] = [
  ['a checkpoint', 'vit-train.pt', 'vit-train'],
  ['of a ResNet, with counters', 'rn-train.pt', 'rn-train'],
  ['older than PyTorch 1.6', 'vit-train-legacy.pt', 'vit-train'],
  ['with the members that PyTorch 2 adds', 'vit-train-torch2.pt', 'vit-train'],
  ['half and single precision mixed', 'vit-half.pt', 'vit-half'],
  ['the same, older than PyTorch 1.6', 'vit-half-legacy.pt', 'vit-half'],
  ['saved on a GPU', 'vit-half-cuda.pt', 'vit-half'],
  ['bfloat16', 'vit-bf16.pt', 'vit-bf16'],
  ['TorchScript as of OpenAI’s ViT', 'vit-openai-jit.pt', 'vit-openai-jit'],
  ['the same, saved on a GPU', 'vit-openai-jit-cuda.pt', 'vit-openai-jit'],
  ['TorchScript as of OpenAI’s ResNet', 'rn-openai-jit.pt', 'rn-openai-jit'],
  ['views, strides, shared storages, all dtypes', 'odd-zip.pt', 'odd-zip'],
  ['the same, older than PyTorch 1.6', 'odd-legacy.pt', 'odd-legacy'],
  ['the state_dict of OpenAI’s ViT, with its _metadata', 'vit-openai-statedict.pt', 'vit-openai-jit'],
  ['objects of argparse, numpy and torch beside', 'beside.pt', 'protocol4'],
  ['the same, older than PyTorch 1.6', 'beside-legacy.pt', 'protocol4'],
  ['pickle protocol 4, a Namespace beside', 'protocol4.pt', 'protocol4'],
  ['pickle protocol 5, older than PyTorch 1.6', 'protocol5-legacy.pt', 'protocol5-legacy'],
];

for (const [form, file, name] of forms) {
  test(`${file} (${form}): values as PyTorch reads them, to the bit`, () => {
    assertSameTensors(openTorchFile(torchFixture(file)).tensors, twin(name));
  });
}
test('a whole module and a call of the system are refused by name, and nothing is run', () => {
  const trace = '/tmp/cn-clip-evil-ran';
  rmSync(trace, { force: true });
  for (const [file, name] of [
    ['whole-module.pt', 'torch.nn.modules.container.Sequential'],
    ['hostile.pt', 'posix.system'],
  ]) {
    const path = torchFixture(file);
    assert.throws(
      () => openTorchFile(path),
      (error) =>
        error instanceof UserError &&
        error.message.startsWith(path) &&
        error.message.includes(`asks for ${name}, which no checkpoint needs`),
      file,
    );
  }
  assert.ok(!existsSync(trace));
});
