import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { UserError } from '../src/errors.js';
import {
  readSafetensors,
  readSafetensorsHeader,
  type WritableTensor,
  writeSafetensors,
} from '../src/io/safetensors.js';

const directory = mkdtempSync(join(tmpdir(), 'cn-clip-safetensors-'));
after(() => rmSync(directory, { recursive: true }));

/** A file of a header (text, or an object to be written as JSON) and so many data bytes. */
function fileOf(header: unknown, dataBytes: number | Uint8Array, headerLength?: number): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(headerLength ?? json.length));
  const data = typeof dataBytes === 'number' ? Buffer.alloc(dataBytes) : dataBytes;
  const path = join(directory, 'given.safetensors');
  writeFileSync(path, Buffer.concat([prefix, json, data]));
  return path;
}

test('a round trip keeps every bit, names, order and metadata', () => {
  const specials = [0, -0, Number.NaN, Infinity, -Infinity, 1e-45, 3.4e38, 1 / 3];
  const tensors = new Map<string, WritableTensor>([
    ['z.weight', { shape: [2, 4], data: Float32Array.from(specials) }],
    ['7', { shape: [3], data: Uint8Array.of(1, 0, 255) }],
    ['logit_scale', { shape: [], data: Float32Array.of(Math.log(1 / 0.07)) }],
    ['__proto__', { shape: [1], data: BigInt64Array.of(-(2n ** 63n)) }],
    ['空', { shape: [0, 5], data: new Int32Array(0) }],
    ['ids', { shape: [2], data: Int32Array.of(-1, 2 ** 31 - 1) }],
    ['double', { shape: [1], data: Float64Array.of(Math.PI) }],
    ['short', { shape: [2], data: Int16Array.of(-5, 5) }],
    ['byte', { shape: [1], data: Int8Array.of(-5) }],
    ['view', { shape: [2], data: Float32Array.of(1, 2, 3, 4).subarray(1, 3) }],
  ]);
  const path = join(directory, 'round.safetensors');
  writeSafetensors(path, tensors, { format: 'pt', note: '训练' });
  const read = readSafetensors(path);
  assert.deepEqual([...read.keys()], [...tensors.keys()]);
  for (const [name, { shape, data }] of tensors) {
    const found = read.get(name)!;
    assert.deepEqual(found.shape, shape);
    assert.equal(found.data.constructor, data.constructor);
    assert.deepEqual(
      Buffer.from(found.data.buffer, found.data.byteOffset, found.data.byteLength),
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
      name,
    );
  }
  const header = readSafetensorsHeader(path);
  assert.deepEqual(header.metadata, { format: 'pt', note: '训练' });
  assert.equal(header.dataStart % 8, 0);
  const bytes = readFileSync(path);
  writeSafetensors(path, tensors, { format: 'pt', note: '训练' });
  assert.deepEqual(readFileSync(path), bytes);
  assert.ok(readdirSync(directory).every((name) => !name.endsWith('.tmp')));
});

test('half precision is widened exactly', () => {
  const half = Uint16Array.of(
    0x0000,
    0x8000,
    0x0001,
    0x8001,
    0x03ff,
    0x0400,
    0x3c00,
    0xc000,
    0x7bff,
    0x7c00,
    0xfc00,
    0x7e00,
  );
  const brain = Uint16Array.of(0x3f80, 0xc049, 0x0001, 0x7f80);
  const path = fileOf(
    {
      half: { dtype: 'F16', shape: [12], data_offsets: [0, 24] },
      brain: { dtype: 'BF16', shape: [4], data_offsets: [24, 32] },
      mask: { dtype: 'BOOL', shape: [2], data_offsets: [32, 34] },
    },
    Buffer.concat([Buffer.from(half.buffer), Buffer.from(brain.buffer), Buffer.of(1, 0)]),
  );
  const read = readSafetensors(path);
  const smallest = 2 ** -24;
  assert.deepEqual(
    [...read.get('half')!.data],
    [0, -0, smallest, -smallest, 1023 * smallest, 2 ** -14, 1, -2, 65504, Infinity, -Infinity, Number.NaN],
  );
  assert.deepEqual([...read.get('brain')!.data], [1, -3.140625, 2 ** -133, Infinity]);
  assert.equal(read.get('half')!.dtype, 'F16');
  assert.deepEqual(read.get('mask'), { shape: [2], dtype: 'BOOL', data: Uint8Array.of(1, 0) });
});

test('a hostile file is one clear error', async (t) => {
  const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  const cases: [string, () => string, RegExp][] = [
    ['header length beyond the file', () => fileOf({ a: entry }, 8, 1 << 20), /truncated one/],
    ['header length of 2^60', () => fileOf({ a: entry }, 8, 2 ** 60), /truncated one/],
    ['header length of 0', () => fileOf('', 8, 0), /no JSON/],
    ['header cut short', () => fileOf({ a: entry }, 8, 10), /no JSON/],
    [
      'header that is no UTF-8',
      () =>
        fileOf('{"a', Buffer.from('\xff":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 'latin1'), 54),
      /no JSON/,
    ],
    ['header that is a list', () => fileOf([entry], 8), /no JSON object/],
    ['header nested deeply', () => fileOf('['.repeat(1 << 20), 0), /no JSON/],
    ['entry that is no object', () => fileOf({ a: 5 }, 8), /tensor "a".*no object/],
    ['unknown dtype', () => fileOf({ a: { ...entry, dtype: 'F8_E4M3' } }, 8), /tensor "a".*F8_E4M3/],
    [
      'dtype named as an object method',
      () => fileOf({ a: { ...entry, dtype: 'toString' } }, 8),
      /is none of/,
    ],
    ['negative size', () => fileOf({ a: { ...entry, shape: [-1, -2] } }, 8), /tensor "a".*shape/],
    ['fractional size', () => fileOf({ a: { ...entry, shape: [0.5, 4] } }, 8), /shape/],
    [
      'sizes whose product overflows',
      () => fileOf({ a: { ...entry, shape: [2 ** 52, 2 ** 52, 2 ** 52] } }, 8),
      /does not fill/,
    ],
    ['shape that is text', () => fileOf({ a: { ...entry, shape: '2' } }, 8), /shape/],
    [
      'size that does not match',
      () => fileOf({ a: { ...entry, shape: [3] } }, 8),
      /does not fill its 8 bytes/,
    ],
    [
      'offsets beyond the file',
      () => fileOf({ a: { ...entry, shape: [1000], data_offsets: [0, 4000] } }, 8),
      /truncated/,
    ],
    ['offsets reversed', () => fileOf({ a: { ...entry, data_offsets: [8, 0] } }, 8), /no range/],
    ['offsets negative', () => fileOf({ a: { ...entry, data_offsets: [-8, 0] } }, 8), /no range/],
    ['offsets missing', () => fileOf({ a: { dtype: 'F32', shape: [2] } }, 8), /no range/],
    [
      'overlap',
      () => fileOf({ a: entry, b: { ...entry, data_offsets: [4, 12] } }, 12),
      /tensor "b" overlaps/,
    ],
    ['the same range twice', () => fileOf({ a: entry, b: entry }, 8), /tensor "b" overlaps/],
    [
      'hole',
      () => fileOf({ a: entry, b: { ...entry, data_offsets: [12, 20] } }, 20),
      /tensor "b" leaves a hole/,
    ],
    [
      'name given twice',
      () =>
        fileOf(
          '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
          2,
        ),
      /hole/,
    ],
    ['bytes after the data', () => fileOf({ a: entry }, 9), /too long/],
    ['metadata that is no text', () => fileOf({ __metadata__: { epoch: 3 } }, 0), /__metadata__/],
    [
      'empty file',
      () => {
        const path = join(directory, 'empty');
        writeFileSync(path, '');
        return path;
      },
      /0 bytes/,
    ],
    ['directory', () => directory, /not a regular file/],
    ['missing file', () => join(directory, 'missing.safetensors'), /missing\.safetensors: can't be opened/],
  ];
  for (const [name, make, message] of cases) {
    await t.test(name, () => {
      const path = make();
      assert.throws(
        () => readSafetensors(path),
        (error) =>
          error instanceof UserError && message.test(error.message) && error.message.startsWith(path),
      );
    });
  }
});

test('a file cut at any byte is an error', () => {
  const path = join(directory, 'whole.safetensors');
  writeSafetensors(path, new Map([['a', { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]));
  const bytes = readFileSync(path);
  for (let length = 0; length < bytes.length; length++) {
    writeFileSync(path, bytes.subarray(0, length));
    assert.throws(() => readSafetensors(path), UserError, `cut to ${length} bytes`);
  }
});

test('writing refuses what reading would not give back', () => {
  const path = join(directory, 'refused.safetensors');
  const write = (name: string, shape: number[]) =>
    writeSafetensors(path, new Map([[name, { shape, data: new Float32Array(6) }]]));
  assert.throws(() => write('a', [2, 2]), /tensor "a" has 6 values/);
  assert.throws(() => write('__metadata__', [6]), /__metadata__/);
  assert.ok(!readdirSync(directory).includes('refused.safetensors'));
});
