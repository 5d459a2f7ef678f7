import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openWeights } from '../src/checkpoint/files.js';
import { writeTorchCheckpoint } from '../src/checkpoint/torch/writeTorch.js';
import { UserError } from '../src/errors.js';
import { PickleGlobal, unpickle } from '../src/io/pickle.js';
import { readSafetensors, writeSafetensors } from '../src/io/safetensors.js';
import { readValues, type TensorData, tensorOf } from '../src/io/tensor.js';
import { pickle } from '../src/io/writePickle.js';
import { runCli } from './runCli.js';
import { assertSameTensors, bytesOf, randomFloats, temporaryDirectory } from './support.js';
import { torchFixture } from './torchFixtures.js';

const folder = temporaryDirectory();

async function convert(from: string, name: string, to: string, ...flags: string[]) {
  const out = join(folder, name);
  const { code, stdout, stderr } = await runCli(['convert', from, out, '--to', to, ...flags]);
  assert.equal(code, 0, stderr);
  return { out, said: stdout };
}

/** Float32 of every kind, a scalar, an empty tensor, integers: what checkpoints hold. */
const variety = new Map<string, { shape: number[]; data: TensorData }>([
  ['visual.conv1.weight', { shape: [3, 1, 5], data: randomFloats(15, 'convert') }],
  ['logit_scale', { shape: [], data: Float32Array.of(-0) }],
  ['bert.pooler.dense.bias', { shape: [3], data: Float32Array.of(Infinity, 1e-45, 3.4028234663852886e38) }],
  ['empty', { shape: [0, 4], data: new Float32Array(0) }],
  ['名', { shape: [1], data: Float64Array.of(0.1) }],
  ['visual.bn1.num_batches_tracked', { shape: [], data: BigInt64Array.of(-(2n ** 40n)) }],
  ['position_ids', { shape: [1, 2], data: Int32Array.of(7, -8) }],
  ['short', { shape: [2], data: Int16Array.of(-5, 5) }],
  ['byte', { shape: [1], data: Uint8Array.of(255) }],
]);

test('checkpoint directory → pt → safetensors gives the same bytes, with a NaN’s payload', async () => {
  const directory = join(folder, 'model');
  mkdirSync(directory);
  const from = join(directory, 'model.safetensors');
  const bits = new Uint8Array(Uint32Array.of(0x7fc12345, 0xffc00001).buffer);
  const nan = { shape: [2], data: new Float32Array(bits.buffer) };
  writeSafetensors(from, new Map([...variety, ['nan', nan]]));
  const pt = await convert(directory, 'variety.pt', 'pt');
  assert.equal(pt.said, `${pt.out}: 10 tensors\n`);
  const back = await convert(pt.out, 'back.safetensors', 'safetensors');
  assert.deepEqual(readFileSync(back.out), readFileSync(from));
});

test('the reference’s checkpoint goes to safetensors and back with every value', async () => {
  const { out } = await convert(torchFixture('vit-train.pt'), 'train.safetensors', 'safetensors');
  const { out: pt } = await convert(out, 'train.pt', 'pt');
  assertSameTensors(openWeights(pt).tensors, openWeights(torchFixture('vit-train.pt')).tensors);
});

test('half precision stays half in every direction, to the bit, unless float32 is asked for', async () => {
  const original = openWeights(torchFixture('vit-half.pt')).tensors;
  const halves = [...original.values()].filter(({ dtype }) => dtype === 'F16').length;
  assert.ok(halves > 0);
  const { out, said } = await convert(torchFixture('vit-half.pt'), 'half.safetensors', 'safetensors');
  assert.equal(said, `${out}: ${original.size} tensors, ${halves} of them in half precision\n`);
  const { out: pt } = await convert(out, 'half.pt', 'pt');
  for (const path of [out, pt]) {
    const { tensors } = openWeights(path);
    for (const [name, tensor] of original) {
      assert.equal(tensors.get(name)!.dtype, tensor.dtype, name);
      assert.deepEqual(bytesOf(tensors.get(name)!.read()), bytesOf(tensor.read()), name);
    }
  }
  const wide = await convert(pt, 'wide.safetensors', 'safetensors', '--dtype', 'float32');
  assert.equal(wide.said, `${wide.out}: ${original.size} tensors\n`);
  const widened = openWeights(wide.out).tensors;
  for (const [key, { data }] of readSafetensors(torchFixture('vit-half.expected.safetensors'))) {
    const name = key.replace(/^state_dict\/module\./, '');
    assert.deepEqual(bytesOf(readValues(widened.get(name)!)), bytesOf(data), name);
  }
  // Widening is exact, so narrowing it again gives the same halves.
  const narrow = await convert(wide.out, 'narrow.pt', 'pt', '--dtype', 'float16');
  const { tensors } = openWeights(narrow.out);
  for (const [name, tensor] of original) {
    if (tensor.dtype !== 'F16') continue;
    assert.deepEqual(bytesOf(tensors.get(name)!.read()), bytesOf(tensor.read()), name);
  }
});

test('a value that half precision can’t hold is an error, and leaves no file', async () => {
  const from = join(folder, 'large.safetensors');
  writeSafetensors(from, new Map([['w', { shape: [2], data: Float32Array.of(65504, 65520) }]]));
  const out = join(folder, 'small.pt');
  const { code, stderr } = await runCli(['convert', from, out, '--to', 'pt', '--dtype', 'float16']);
  assert.equal(code, 1);
  assert.match(stderr, /tensor 'w': 65520 is too large for half precision/);
  assert.ok(!existsSync(out));
});

test('an existing file is left alone, another form refused', async () => {
  const out = join(folder, 'mine.pt');
  writeFileSync(out, 'mine');
  const existing = await runCli(['convert', torchFixture('vit-train.pt'), out, '--to', 'pt']);
  assert.equal(existing.code, 1);
  assert.match(existing.stderr, /mine\.pt exists already/);
  assert.equal(readFileSync(out, 'utf8'), 'mine');
  const other = await runCli(['convert', torchFixture('vit-train.pt'), join(folder, 'x.h5'), '--to', 'h5']);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /--to/);
  assert.ok(!existsSync(join(folder, 'x.h5')));
});

test('a tensor that can’t be written leaves no file', () => {
  const weights = new Map([['odd', tensorOf([2], new Float32Array(3))]]);
  const write = () => writeTorchCheckpoint(join(folder, 'odd.pt'), weights, { epoch: 0, step: 0, name: '' });
  assert.throws(
    write,
    (error) => error instanceof UserError && /has 3 values, its shape \[2\]/.test(error.message),
  );
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('odd')),
    [],
  );
});

test('the archive is one of torch.save: stored, aligned to 64 bytes, checksummed, with its version', () => {
  const path = join(folder, 'structure.pt');
  const weights = new Map([['w', tensorOf([2], Float32Array.of(1, 2))]]);
  writeTorchCheckpoint(path, weights, { epoch: 3, step: 2 ** 33, name: '实验' });
  const bytes = readFileSync(path);
  const members = new Map<string, Buffer>();
  let at = 0;
  for (; bytes.readUInt32LE(at) === 0x04034b50; ) {
    assert.equal(bytes.readUInt16LE(at + 8), 0, 'stored');
    const nameLength = bytes.readUInt16LE(at + 26);
    const name = bytes.toString('utf8', at + 30, at + 30 + nameLength);
    const size = Number(bytes.readBigUInt64LE(at + 30 + nameLength + 4));
    const start = at + 30 + nameLength + bytes.readUInt16LE(at + 28);
    assert.equal(start % 64, 0, name);
    members.set(name, bytes.subarray(start, start + size));
    if (name === 'archive/byteorder') assert.equal(bytes.readUInt32LE(at + 14), 0x19e33d85);
    at = start + size;
  }
  assert.equal(bytes.readUInt32LE(at), 0x02014b50, 'the directory follows');
  assert.deepEqual(
    [...members.keys()],
    ['archive/data.pkl', 'archive/byteorder', 'archive/data/0', 'archive/version'],
  );
  assert.equal(String(members.get('archive/version')), '3\n');
  assert.equal(String(members.get('archive/byteorder')), 'little');
  const root = unpickle(members.get('archive/data.pkl')!, path, {
    load: (id) => id,
    construct: (name, args) => (name === 'collections.OrderedDict' ? new Map() : [name, ...args]),
  }) as Map<string, unknown>;
  assert.deepEqual([...root.keys()], ['epoch', 'step', 'name', 'state_dict']);
  assert.deepEqual([root.get('epoch'), root.get('step'), root.get('name')], [3, 2 ** 33, '实验']);
  const storage = ['storage', new PickleGlobal('torch.FloatStorage'), '0', 'cpu', 2];
  assert.deepEqual(
    root.get('state_dict'),
    new Map([['module.w', ['torch._utils._rebuild_tensor_v2', storage, 0, [2], [1], false, new Map()]]]),
  );
});

test('whole numbers of any safe size survive the pickle, others are refused', () => {
  const numbers = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, -(2 ** 31) - 1, Number.MAX_SAFE_INTEGER];
  const nothing = { load: () => null, construct: () => null };
  assert.deepEqual(unpickle(pickle(numbers), 'numbers', nothing), numbers);
  for (const wrong of [0.5, NaN, 2 ** 53]) assert.throws(() => pickle(wrong), RangeError);
});
