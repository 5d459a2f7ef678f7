import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readFeatures } from '../src/eval/files.js';
import { readNpy, writeNpy } from '../src/io/npy.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();

function scratch(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A file as numpy writes it, format 1 unless told otherwise. */
function npy(header: string, data: Uint8Array, version = 1): Buffer {
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(header.length);
  else length.writeUInt32LE(header.length);
  return Buffer.concat([
    Buffer.from(`\x93NUMPY`, 'latin1'),
    Buffer.from([version, 0]),
    length,
    Buffer.from(header),
    data,
  ]);
}

const values = Float32Array.of(1, -2, 3.5, 4, 5, 6);
const bytes = new Uint8Array(values.buffer);
const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

test('a matrix is written as numpy.save writes it, and read again', () => {
  const path = join(folder, 'matrix.npy');
  writeNpy(path, values, [2, 3]);
  // What numpy 1.24 writes for numpy.array([[1, -2, 3.5], [4, 5, 6]], numpy.float32).
  const header = Buffer.from(npy(`${good.padEnd(117)}\n`, bytes));
  assert.deepEqual(readFileSync(path), header);
  assert.deepEqual(readNpy(path), { shape: [2, 3], data: values });
  assert.deepEqual(readNpy(scratch('v2.npy', npy(good, bytes, 2))), { shape: [2, 3], data: values });
  assert.throws(() => writeNpy(path, values, [2, 2]), RangeError);
});

test('other NumPy files, and damaged ones, are refused', () => {
  const bad: [Buffer, RegExp][] = [
    [Buffer.from('short'), /not a NumPy file/],
    [Buffer.from('no matrix at all'), /not a NumPy file/],
    [npy(good, bytes, 4), /not a NumPy file of format 1 to 3/],
    [npy(good.replace('<f4', '<f8'), bytes), /expected little-endian float32/],
    [npy(good.replace('<f4', '|O'), bytes), /expected little-endian float32/],
    [npy(good.replace('False', 'True'), bytes), /in C order/],
    [npy(good.replace('2, 3', '6,'), bytes), /two dimensions/],
    [npy(good.replace('2, 3', '2, 3, 1'), bytes), /two dimensions/],
    [npy(good.replace('2, 3', '2, 4'), bytes), /2 × 4 values need \d+ bytes, the file has/],
    [npy(good.replace('2, 3', '900000000000000, 900000000000000'), bytes), /the file has/],
    [npy(good, bytes).subarray(0, 40), /truncated/],
  ];
  for (const [i, [content, message]] of bad.entries()) {
    assert.throws(() => readNpy(scratch(`bad-${i}.npy`, content)), { name: 'UserError', message });
  }
  const huge = npy(good, bytes, 2);
  huge.writeUInt32LE(0xffffffff, 8);
  assert.throws(() => readNpy(scratch('huge.npy', huge)), { name: 'UserError', message: /a header of/ });
});

test('features in a NumPy file need an id for each row', () => {
  const path = scratch('features.npy', npy(good, bytes));
  const ids = (content: string) => scratch('features.ids.jsonl', content);
  ids('{"image_id": 7}\n{"image_id": "7"}\n');
  assert.deepEqual(readFeatures(path, 'image_id'), { ids: [7, '7'], features: values, dimension: 3 });
  const refuses = (message: RegExp) =>
    assert.throws(() => readFeatures(path, 'image_id'), { name: 'UserError', message });
  ids('{"image_id": 7}\n{"image_id": 7}\n');
  refuses(/features\.ids\.jsonl, line 2: "image_id" 7 occurred before/);
  ids('{"image_id": 7}\n');
  refuses(/features\.npy has 2 rows, .*features\.ids\.jsonl 1 ids/);
  ids('{"text_id": 7}\n{"text_id": 8}\n');
  refuses(/line 1: expected "image_id"/);
  ids('{"image_id": 7}\n{"image_id": 8}\n');
  scratch('features.npy', npy(good, new Uint8Array(Float32Array.of(1, 2, 3, 4, Number.NaN, 6).buffer)));
  refuses(/features\.npy, row 1: value 1 is not finite/);
});
