import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FloatReader } from '../src/checkpoint/floatReader.js';
import { openTorchFile } from '../src/checkpoint/torch/read.js';
import { UserError } from '../src/errors.js';
import { openSafetensors, writeSafetensors } from '../src/io/safetensors.js';
import { castFloats, type LazyTensor, readValues, tensorOf } from '../src/io/tensor.js';
import { Random } from '../src/random.js';
import { temporaryDirectory } from './support.js';
import { dictionary, integer, named, pickleOf, storage, tensor, text, tuple, zip } from './torchBytes.js';

const folder = temporaryDirectory();
const random = new Random(3);
const normals = (count: number) =>
  tensorOf(
    [count],
    Float32Array.from({ length: count }, () => random.normal()),
  );

/** Reads all at once with threads, and compares with what is read without. */
async function assertThreadsAgree(tensors: LazyTensor[]): Promise<void> {
  const reader = new FloatReader(tensors, 0);
  try {
    const values = await Promise.all(tensors.map((each) => reader.read(each)));
    assert.ok(values.length > 0);
    for (const [i, each] of tensors.entries()) assert.deepEqual(values[i], readValues(each));
  } finally {
    await reader.close();
  }
}

test('threads read what is read without them: floats and halves, longer and shorter than a part', async () => {
  const path = join(folder, 'mixed.safetensors');
  const [a, b, c] = [normals(40_000), normals(16_384), normals(3)];
  const half = (each: LazyTensor) => castFloats(each, 'F16', 'test');
  const upper: LazyTensor = {
    shape: [4],
    dtype: 'BF16',
    read: () => new Uint8Array(Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0001).buffer),
  };
  const byName = { a, b, c, ha: half(a), hb: half(b), hc: half(c), upper };
  writeSafetensors(path, new Map(Object.entries(byName)));
  const tensors = openSafetensors(path);
  await assertThreadsAgree([...tensors.values()]);
  const reader = new FloatReader(tensors.values(), 0);
  assert.deepEqual(await reader.read(tensors.get('upper')!), Float32Array.of(1, -2, Infinity, 2 ** -133));
  await reader.close();
});

test('threads read views of a PyTorch storage, deflated ones too', async () => {
  const data = new Uint8Array(Float32Array.from({ length: 80 }, (_, i) => i / 3).buffer);
  for (const method of [0, 8]) {
    for (const stride of [1, 2]) {
      const from = storage(text('0'), named('torch', 'FloatStorage'));
      const view = tensor(tuple(integer(30)), tuple(integer(stride)), integer(5), from);
      const path = join(folder, `${method}-${stride}.pt`);
      const members = { 'a/data.pkl': pickleOf(dictionary(text('weight'), view)), 'a/data/0': data };
      writeFileSync(path, zip(members, method));
      const { tensors } = openTorchFile(path);
      assert.equal(tensors.get('weight')!.place === undefined, method === 8 || stride === 2);
      await assertThreadsAgree([...tensors.values()]);
    }
  }
});

test('a file that is cut after it was opened is an error of the tensor, not the end of the threads', async () => {
  const path = join(folder, 'cut.safetensors');
  writeSafetensors(path, new Map(Object.entries({ a: normals(1000), b: normals(1000) })));
  const tensors = openSafetensors(path);
  truncateSync(path, 5000);
  const reader = new FloatReader(tensors.values(), 0);
  for (const name of ['a', 'b']) {
    await assert.rejects(reader.read(tensors.get(name)!), (error: Error) => {
      assert.ok(error instanceof UserError);
      assert.match(error.message, /cut\.safetensors was changed while it was read/);
      return true;
    });
  }
  await reader.close();
  await assert.rejects(reader.read(tensors.get('a')!), /closed/);
});
