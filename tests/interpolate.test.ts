import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { interpolateCheckpoints } from '../src/checkpoint/interpolate.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { readValues } from '../src/io/tensor.js';
import type { Model } from '../src/model/model.js';
import { runCli } from './runCli.js';
import { assertSameTensors, onnx, temporaryDirectory, tinyModel, tinyResNet } from './support.js';

const folder = temporaryDirectory();

function written(name: string, model: Model): string {
  const directory = join(folder, name);
  const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '一'];
  writeCheckpoint(directory, { weights: model.tensors, config: model.config, vocabulary });
  return directory;
}

const a = written('a', tinyModel(onnx, {}, 1));
const b = written('b', tinyModel(onnx, {}, 2));
const tensorsOf = (location: string) => openCheckpoint(location).tensors;

test('alpha 0 and 1 are the two checkpoints to the bit, others lie between', async () => {
  const out = join(folder, 'several');
  const { code, stdout, stderr } = await runCli(['interpolate', a, b, '--alpha', '0,0.25,1', '--out', out]);
  assert.equal(code, 0, stderr);
  const [zero, quarter, one] = ['0', '0.25', '1'].map((alpha) => join(out, `alpha-${alpha}`));
  assert.equal(stdout, `${zero}\n${quarter}\n${one}\n`);
  assertSameTensors(tensorsOf(zero), tensorsOf(a));
  assertSameTensors(tensorsOf(one), tensorsOf(b));
  for (const [name, tensor] of tensorsOf(quarter)) {
    const [found, from, to] = [tensor, tensorsOf(a).get(name)!, tensorsOf(b).get(name)!].map(
      (tensor) => readValues(tensor) as Float32Array,
    );
    found.forEach((value, i) => {
      assert.equal(value, Math.fround(0.75 * from[i] + 0.25 * to[i]), name);
    });
  }
  assert.deepEqual(openCheckpoint(quarter).config(), openCheckpoint(a).config());
  assert.equal(openCheckpoint(quarter).vocabulary, join(quarter, 'vocab.txt'));
});

test('one alpha, by default a half, writes the folder itself; counters are those of the nearer', () => {
  const [c, d] = [1, 2].map((seed) => {
    const model = tinyResNet(onnx, {}, seed);
    model.weights.get('visual.bn1.num_batches_tracked')!.write(Float32Array.of(seed * 10));
    return written(`resnet-${seed}`, model);
  });
  const out = join(folder, 'half');
  assert.deepEqual(interpolateCheckpoints(c, d, out), [out]);
  const count = tensorsOf(out).get('visual.bn1.num_batches_tracked')!;
  assert.deepEqual(readValues(count), BigInt64Array.of(20n));
});

test('what does not fit is refused with a message, and nothing is written', () => {
  const out = join(folder, 'nothing');
  const other = written('other', tinyModel(onnx, { embed_dim: 16 }));
  assert.throws(() => interpolateCheckpoints(a, other, out), /are models of different configs/);
  assert.throws(() => interpolateCheckpoints(a, b, out, [0.5, 1.5]), /alpha is 1.5, expected/);
  assert.throws(() => interpolateCheckpoints(a, b, a), /exists already/);
  assert.throws(() => openCheckpoint(out), /does not exist/);
});
