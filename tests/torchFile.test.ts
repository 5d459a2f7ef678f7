import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { openTorchFile } from '../src/checkpoint/torch/read.js';
import { UserError } from '../src/errors.js';
import { checkpointSource } from '../src/export/checkpointSource.js';
import { readValues } from '../src/io/tensor.js';
import { loadModel } from '../src/model/load.js';
import { temporaryDirectory } from './support.js';
import {
  archive,
  dictionary,
  integer,
  named,
  pickleOf,
  storage,
  tensor,
  text,
  tuple,
  zip,
} from './torchBytes.js';
import { torchFixture } from './torchFixtures.js';

const folder = temporaryDirectory();
let files = 0;

/** All tensors of a file, read. */
function readTorchWeights(path: string) {
  const { tensors } = openTorchFile(path);
  return new Map(
    [...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: readValues(tensor) }]),
  );
}

function write(bytes: Uint8Array): string {
  const path = join(folder, `${files++}.pt`);
  writeFileSync(path, bytes);
  return path;
}

/** A checkpoint {"weight": tensor} over one storage of float32. */
function checkpoint(
  shape: number[],
  strides: number[],
  offset: number,
  values: number[],
  type = 'FloatStorage',
): Buffer {
  const from = storage(text('0'), named('torch', type));
  const view = tensor(tuple(...shape.map(integer)), tuple(...strides.map(integer)), integer(offset), from);
  const data = new Uint8Array(Float32Array.from(values).buffer);
  return zip({ 'a/data.pkl': pickleOf(dictionary(text('weight'), view)), 'a/data/0': data });
}

test('a model loads from a .pt file', async () => {
  const config = torchFixture('config-vit.json');
  const model = await loadModel(torchFixture('vit-train.pt'), { config });
  assert.equal(model.weights.size, 59);
  await model.dispose();
});

test('an archive that was deflated holds the same values', () => {
  const view = tensor(tuple(integer(40)), tuple(integer(2)), integer(1));
  const pickle = pickleOf(dictionary(text('weight'), view));
  const data = new Uint8Array(Float32Array.from({ length: 80 }, (_, i) => i / 3).buffer);
  const members = { 'a/data.pkl': pickle, 'a/data/0': data };
  const [stored, deflated] = [0, 8].map((method) => readTorchWeights(write(zip(members, method))));
  assert.equal((deflated.get('weight')!.data as Float32Array)[1], Math.fround(1));
  assert.deepEqual(deflated, stored);
});

test('tensors in nested dictionaries are passed over, with their count and names', async () => {
  const view = tensor(tuple(integer(2)), tuple(integer(1)));
  const names = ['b', 'c', 'd', 'e'];
  const nested = dictionary(...names.flatMap((name) => [text(name), view]));
  const pickle = pickleOf(
    dictionary(
      ...[text('state_dict'), dictionary(text('a'), view)],
      ...[text('average'), dictionary(text('model'), nested)],
      ...[text('optimizer'), nested],
    ),
  );
  const file = write(archive(pickle));
  const { tensors, notes } = openCheckpoint(file);
  assert.deepEqual([...tensors.keys()], ['a']);
  assert.equal(notes.length, 1);
  assert.match(
    notes[0],
    /: 4 tensors in nested dictionaries are passed over: average\.model\.b, average\.model\.c, average\.model\.d, …$/,
  );
  assert.deepEqual(openCheckpoint(torchFixture('vit-train.pt')).notes, []);
  // An export says it, too.
  const said: string[] = [];
  const warn = (line: string) => said.push(line);
  assert.throws(() => checkpointSource(file, { config: 'tiny', warn }), { name: 'UserError' });
  assert.deepEqual(said, notes);
});

test('views of a storage: offsets, transposed strides, repeated rows', () => {
  const read = (...args: Parameters<typeof checkpoint>) => [
    ...(readTorchWeights(write(checkpoint(...args))).get('weight')!.data as Float32Array),
  ];
  const values = [0, 1, 2, 3, 4, 5];
  assert.deepEqual(read([2, 2], [2, 1], 1, values), [1, 2, 3, 4]);
  assert.deepEqual(read([3, 2], [1, 3], 0, values), [0, 3, 1, 4, 2, 5]);
  assert.deepEqual(read([2, 3], [0, 2], 1, values), [1, 3, 5, 1, 3, 5]);
  assert.deepEqual(read([], [], 4, values), [4]);
});

test('a pickle that names a function to run is refused by name, and nothing is run', () => {
  const pickle = pickleOf(named('os', 'system'), tuple(text('touch hacked')), 'R');
  assert.throws(() => readTorchWeights(write(zip({ 'a/data.pkl': pickle }))), /os\.system/);
});

test('damaged and foreign files: one clear message each', () => {
  const whole = readFileSync(torchFixture('vit-train.pt'));
  const cases: [Uint8Array, RegExp][] = [
    [whole.subarray(0, whole.length - 100), /no directory|cut off/],
    [zip({ 'a/code/x.py': Buffer.from('1') }), /no data\.pkl/],
    [zip({ 'a/data.pkl': Buffer.from([0x80, 2, 0x7d]) }), /cut off/],
    [zip({ 'a/data.pkl': Buffer.from([0x80, 2, 0x49]) }), /opcode 0x49/],
    [zip({ 'a/data.pkl': Buffer.from([0x80, 2, 0x74]) }), /mark/],
    [zip({ 'a/data.pkl': Buffer.from([0x80, 2, 0x7d, 0x2e]) }), /no tensors/],
    [checkpoint([2, 1], [5, 1], 0, [0, 1, 2]), /beyond its storage/],
    [checkpoint([2], [1], 2, [0, 1, 2]), /beyond its storage/],
    [checkpoint([2], [1], -1, [0, 1, 2]), /described wrongly/],
    [checkpoint([1 << 30, 1 << 30], [0, 0], 0, [0]), /its tensors have \d+ bytes, the file only/],
    [checkpoint([1], [1], 0, [0], 'ComplexFloatStorage'), /ComplexFloatStorage/],
  ];
  for (const [bytes, message] of cases) {
    assert.throws(
      () => readTorchWeights(write(bytes)),
      (error) => error instanceof UserError && message.test(error.message),
      String(message),
    );
  }
});

test('every truncation of a checkpoint is an error of ours', () => {
  const whole = checkpoint([2], [1], 0, [1, 2]);
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => readTorchWeights(write(whole.subarray(0, length))), UserError, `${length} bytes`);
  }
});
