import assert from 'node:assert/strict';
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openWeights } from '../src/checkpoint/files.js';
import { writeTorchCheckpoint } from '../src/checkpoint/torch/writeTorch.js';
import { readSafetensors } from '../src/io/safetensors.js';
import { tensorOf } from '../src/io/tensor.js';
import { loadModelConfig } from '../src/model/config.js';
import { parameterSpecs } from '../src/model/parameters.js';
import { assertRefused, deep, readAllOf, safetensors, scratch } from './hostile.js';
import { fixture } from './support.js';
import { archive, dictionary, floats, pair, pickleOf, text, zip } from './torchBytes.js';

const { folder, write } = scratch();

function refused(path: string, message: RegExp, what: string): void {
  assertRefused(() => readAllOf(path), path, message, what);
}

const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
const good = safetensors({ w: entry }, 8);
const goodArchive = archive(pickleOf(dictionary(text('w'), pair)));

const written = (() => {
  const path = join(folder, 'written.pt');
  const moment = tensorOf([2, 1], Float32Array.of(1, 2));
  const moments = new Map([['text_projection', { first: moment, second: moment }]]);
  const factors = { step: 1, learningRate: 1, weightDecay: 0, beta1: 0, beta2: 0, epsilon: 1 };
  const optimizer = { ...factors, moments };
  const training = { epoch: 1, step: 1, name: 'run', optimizer };
  writeTorchCheckpoint(path, new Map([['text_projection', moment]]), training);
  readAllOf(path);
  return readFileSync(path);
})();

test('files cut at any byte', () => {
  const torch = ['legacy.pt', 'scripted.pt', 'zip.pt'].map((name) => readFileSync(fixture('torch', name)));
  for (const whole of [...torch, written, good]) {
    const path = write(whole);
    readAllOf(path);
    for (let length = whole.length - 1; length >= 0; length--) {
      truncateSync(path, length);
      refused(path, /./, `${length} bytes of ${whole.length}`);
    }
  }
});

test('deflated members: bombs, other sizes than they claim, damage', () => {
  const pickle = pickleOf(dictionary(text('w'), pair));
  const whole = zip({ 'a/data.pkl': pickle, 'a/data/0': floats }, 8);
  const claim = (size: number): Buffer => {
    const changed = Buffer.from(whole);
    const directory = changed.readUInt32LE(changed.length - 22 + 16);
    const second = directory + 46 + changed.readUInt16LE(directory + 28);
    changed.writeUInt32LE(size, second + 24);
    return changed;
  };
  readAllOf(write(whole));
  const damaged = Buffer.from(whole);
  damaged[30 + 'a/data.pkl'.length] = 0xff;
  const noise = Buffer.from(Array.from({ length: 200 }, (_, i) => (i * i * 31) & 255));
  const many = Array.from({ length: 20 }, (_, i) => [`a/data/${i}`, Buffer.alloc(1 << 20)] as const);
  const cases: [string, Buffer, RegExp][] = [
    ['64 MB of zeros', zip({ 'a/data.pkl': Buffer.alloc(64 << 20) }, 8), /more than 16 times the bytes/],
    ['twenty times 1 MB', zip([['a/data.pkl', pickle], ...many], 8), /more than 16 times the bytes/],
    ['a ratio that deflate has not', claim(2 ** 31), /can't have 2147483648 bytes/],
    ['less than there is', claim(7), /can't be inflated|beyond its storage/],
    ['less than there is, of the pickle', withPickleSize(whole, 9), /can't be inflated/],
    ['more than there is', claim(9), /has 8 bytes in place of 9/],
    ['damage', damaged, /can't be inflated/],
    [
      'a small part of a storage',
      zip({ 'a/data.pkl': pickle, 'a/data/0': noise }, 8),
      /small part of a compressed storage/,
    ],
  ];
  for (const [what, content, message] of cases) refused(write(content), message, what);
});

/** An archive whose directory says another size of its first member. */
function withPickleSize(archive: Buffer, size: number): Buffer {
  const changed = Buffer.from(archive);
  changed.writeUInt32LE(size, changed.readUInt32LE(changed.length - 22 + 16) + 24);
  return changed;
}

test('the limits are far above the largest official model with its optimizer', () => {
  const names = parameterSpecs(loadModelConfig('ViT-H-14')).map(({ name }) => name);
  assert.equal(names.length, 783);
  const one = tensorOf([1], Float32Array.of(1));
  const weights = new Map([0, 1, 2].flatMap((i) => names.map((name) => [`${name}.${i}`, one] as const)));
  const moments = new Map([...weights.keys()].map((name) => [name, { first: one, second: one }]));
  const factors = { step: 1, learningRate: 1, weightDecay: 0, beta1: 0, beta2: 0, epsilon: 1 };
  const optimizer = { ...factors, moments };
  const path = join(folder, 'large.pt');
  writeTorchCheckpoint(path, weights, { epoch: 1, step: 1, name: '', optimizer });
  const { tensors, training } = openWeights(path);
  assert.deepEqual([tensors.size, training!.optimizer!.moments.size], [3 * 783, 3 * 783]);
});

test('zip64 numbers: beyond the file, beyond 2^53, near 2^63 and 2^64', () => {
  const end = written.length - 22;
  const record = end - 20 - 56;
  const first = Number(written.readBigUInt64LE(record + 48));
  const extra = first + 46 + written.readUInt16LE(first + 28) + 4;
  const fields: [string, number][] = [
    ['the place of the zip64 record', end - 20 + 8],
    ['the number of members', record + 32],
    ['the size of the directory', record + 40],
    ['the place of the directory', record + 48],
    ['the size of a member', extra],
    ['the place of a member', extra + 16],
  ];
  const size = BigInt(written.length);
  const values = [size, size - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 53n + 1n];
  const largest = [2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 30n, 2n ** 64n - size];
  for (const [what, at] of fields) {
    for (const value of [...values, ...largest]) {
      const changed = Buffer.from(written);
      changed.writeBigUInt64LE(value, at);
      refused(write(changed), /zip archive|no data\.pkl/, `${what}: ${value}`);
    }
  }
});

test('members of an archive', () => {
  const pickle = pickleOf(dictionary(text('w'), pair));
  const change = (at: number, value: number, width: 2 | 4) => {
    const changed = Buffer.from(goodArchive);
    changed.writeUIntLE(value, at, width);
    return changed;
  };
  const end = goodArchive.length - 22;
  const directory = goodArchive.readUInt32LE(end + 16);
  const second = directory + 46 + goodArchive.readUInt16LE(directory + 28);
  const longName = `${'x'.repeat(60_000)}/data.pkl`;
  const cases: [string, Buffer, RegExp][] = [
    ['a member in the directory', change(second + 42, directory, 4), /is not where the directory says/],
    ['a member that reaches into it', change(second + 24, 9, 4), /is cut off/],
    [
      'a member whose name reaches into it',
      change(goodArchive.readUInt32LE(second + 42) + 26, 20, 2),
      /cut off/,
    ],
    ['more members than there are', change(end + 10, 9, 2), /directory is damaged/],
    ['fewer members', change(end + 10, 1, 2), /storage 0 is missing/],
    ['an entry that reaches beyond the directory', change(second + 28, 0xffff, 2), /directory is damaged/],
    ['a storage that is shorter than its tensor', change(second + 24, 4, 4), /beyond its storage/],
    [
      'a name that occurs twice',
      zip([
        ['a/data.pkl', pickle],
        ['a/data/0', floats],
        ['a/data/0', floats],
      ]),
      /two members/,
    ],
    [
      'two pickles',
      zip([
        ['a/data.pkl', pickle],
        ['a/data.pkl', pickle],
      ]),
      /two members/,
    ],
    ['a pickle of 9 MB', zip({ 'a/data.pkl': Buffer.alloc(9 << 20, 'N') }), /more than any checkpoint/],
    ['a long name', zip({ [longName]: pickleOf('N', 'R') }), /damaged/],
    [
      'a long name twice',
      zip([
        [longName, pickle],
        [longName, pickle],
      ]),
      /two members/,
    ],
    [
      'a name that commands the terminal',
      zip([
        ['\x1b[2J/data.pkl', pickle],
        ['\x1b[2J/data.pkl', pickle],
      ]),
      /two/,
    ],
    [
      'no pickle',
      zip({ '../data.pkl/x': pickle, 'data.pkl': pickle, 'a/b/data.pkl': pickle }),
      /no data\.pkl/,
    ],
    ['no members', zip({}), /neither a safetensors file nor one that torch\.save wrote/],
    [
      '30,000 members',
      zip(Array.from({ length: 30_000 }, (_, i) => [`a/${i}`, floats] as const)),
      /30000 members/,
    ],
    [
      '20,000 members',
      zip(Array.from({ length: 20_000 }, (_, i) => [`a/${i}`, floats] as const)),
      /no data\.pkl/,
    ],
  ];
  for (const [what, content, message] of cases) refused(write(content), message, what);
  const objects = zip({ '__proto__/data.pkl': pickle, '__proto__/data/0': floats, constructor: floats });
  assert.deepEqual([...openWeights(write(objects)).tensors.keys()], ['w']);
});

test('safetensors files', () => {
  const megabyte = 'x'.repeat(1 << 20);
  const large = write(safetensors('{}', 0, 100n << 20n), '.safetensors');
  truncateSync(large, (100 << 20) + 8);
  refused(large, /header has 104857600 bytes, at most/, 'a header of 100 MB');
  const empty = (shape: unknown) => ({ w: { dtype: 'F32', shape, data_offsets: [0, 0] } });
  const cases: [string, Buffer, RegExp][] = [
    ...[
      2n ** 31n,
      2n ** 32n,
      2n ** 53n,
      2n ** 53n + 1n,
      2n ** 63n - 1n,
      2n ** 63n,
      2n ** 64n - 1n,
      2n ** 64n - 8n,
    ].map((length): [string, Buffer, RegExp] => [
      `a header of ${length}`,
      safetensors('{}', 8, length),
      /truncated one/,
    ]),
    [
      'overlapping tensors',
      safetensors({ a: entry, b: { ...entry, data_offsets: [4, 12] } }, 12),
      /overlaps/,
    ],
    ['one range for two', safetensors({ a: entry, b: entry }, 8), /overlaps/],
    ['a name of 1 MB', safetensors({ [megabyte]: entry }, 8), /name of 1048576 characters/],
    ['a dtype of 1 MB', safetensors({ w: { ...entry, dtype: megabyte } }, 8), /is none of/],
    ['a dtype 60 deep', safetensors(`{"w":{"dtype":${deep(60)}}}`), /is none of/],
    ['a dtype 100,000 deep', safetensors(`{"w":{"dtype":${deep(100_000)}}}`), /more than 64 deep/],
    ['2,000,000 lists', safetensors(`{"w":${deep(2_000_000)}}`), /more than 64 deep/],
    ['objects 100,000 deep', safetensors('{"w":'.repeat(100_000) + '}'.repeat(100_000)), /more than 64 deep/],
    ['2,000,000 open lists', safetensors('['.repeat(2_000_000)), /more than 64 deep/],
    ['metadata 100,000 deep', safetensors(`{"__metadata__":${deep(100_000)}}`), /more than 64 deep/],
    ['metadata that is a list', safetensors({ __metadata__: ['x'] }), /strings only/],
    [
      '4 MB of entries',
      safetensors(`{${Array.from({ length: 300_000 }, (_, i) => `"${i}":[]`)}}`),
      /no object/,
    ],
    ['1,300,000 numbers', safetensors(empty(Array.from({ length: 1_300_000 }, () => 1))), /shape/],
    ['10,000 axes', safetensors(empty(Array.from({ length: 10_000 }, () => 0))), /shape/],
    ['an empty tensor of endless rows', safetensors(empty([Number.MAX_SAFE_INTEGER, 0])), /shape/],
    ['a shape of NaN', safetensors('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}}'), /no JSON/],
    ['a shape of 1e999', safetensors('{"w":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}'), /shape/],
    ['a shape of text', safetensors(empty(['2'])), /shape/],
    ['a shape of null', safetensors(empty([null])), /shape/],
    ['a shape that is an object', safetensors(empty({ length: 0 })), /shape/],
    [
      '2^53 + 1 bytes',
      safetensors('{"w":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,8]}}', 8),
      /shape/,
    ],
    ['a name that commands the terminal', safetensors({ '\x1b[2J\x9b': [] }), /no object/],
    ['a broken header that does', safetensors('{"\x1b[2J'), /no JSON/],
  ];
  for (const [what, content, message] of cases) refused(write(content, '.safetensors'), message, what);
  // Sparse: the file takes no room on the disk, and the tensor more than any array can hold.
  const holes = write(
    safetensors({ w: { dtype: 'U8', shape: [2 ** 42], data_offsets: [0, 2 ** 42] } }),
    '.safetensors',
  );
  truncateSync(holes, readFileSync(holes).length + 2 ** 42);
  refused(holes, /more than fit into memory/, 'a tensor of 4 TB');
  const names = ['__proto__', 'constructor', 'toString'];
  const own = names.map(
    (name, i) => `"${name}":${JSON.stringify({ ...entry, data_offsets: [8 * i, 8 * i + 8] })}`,
  );
  assert.deepEqual([...readSafetensors(write(safetensors(`{${own}}`, 24))).keys()], names);
});
