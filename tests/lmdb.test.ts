import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { LmdbFile } from '../src/io/lmdb/read.js';
import { type NewEntry, writeLmdb } from '../src/io/lmdb/write.js';
import { Random } from '../src/random.js';
import { assertRefused, isRefused } from './hostile.js';
import { fixture, readJson, temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
let files = 0;

function store(bytes: Uint8Array): string {
  const path = join(folder, `${files++}.mdb`);
  writeFileSync(path, bytes);
  return path;
}

/** A file that Python's lmdb has written. */
const python = (name: string) => gunzipSync(readFileSync(fixture('lmdb', `${name}.mdb.gz`)));

/** All of a file: keys with values in order, each looked up too. In a damaged branch a key need not be found. */
function readAll(path: string, isWhole = true): [string, Buffer][] {
  const file = new LmdbFile(path);
  try {
    const entries: [string, Buffer][] = [];
    for (const { key, ...place } of file.entries()) {
      entries.push([key.toString('latin1'), file.read(place, `${path}, a value`)]);
      const found = file.find(Buffer.from(key));
      if (isWhole) assert.deepEqual(found, place);
    }
    return entries;
  } finally {
    file.close();
  }
}

async function write(entries: readonly NewEntry[]): Promise<string> {
  const path = join(folder, `${files++}.mdb`);
  await writeLmdb(path, entries);
  return path;
}

const entry = (key: string, value: Uint8Array | string): NewEntry => ({
  key: Buffer.from(key),
  value: Buffer.from(value),
});

test('a file of several transactions, written by Python: its newest keys and values', () => {
  const path = store(python('history'));
  const { keys, sha256 } = readJson<{ keys: number; sha256: string }>(fixture('lmdb', 'history.json'));
  const entries = readAll(path);
  assert.equal(entries.length, keys);
  const hash = createHash('sha256');
  const length = Buffer.alloc(4);
  for (const [key, value] of entries) {
    for (const part of [Buffer.from(key, 'latin1'), value]) {
      length.writeUInt32LE(part.length);
      hash.update(length).update(part);
    }
  }
  assert.equal(hash.digest('hex'), sha256);
  const file = new LmdbFile(path);
  for (const key of ['', '5', '0', 'zzz', 'largf', '1\0'])
    assert.equal(file.find(Buffer.from(key)), undefined, key);
  assert.equal(file.read(file.find(Buffer.from('large'))!, 'large').length, 12 * 1500);
  file.close();
});

test('a meta page that was cut short leaves the transaction before', () => {
  const bytes = python('history');
  // Transaction 3 is in page 1, transaction 2 in page 0.
  const before = Buffer.from(bytes);
  before.fill(0, 4096, 4096 + 200);
  const keys = (path: string) => {
    const file = new LmdbFile(path);
    const { entryCount } = file;
    file.close();
    return entryCount;
  };
  assert.equal(keys(store(bytes)), 241);
  assert.equal(keys(store(before)), 201);
});

test('what is written is read: every size of value and tree', async () => {
  const random = new Random('lmdb');
  for (const count of [0, 1, 2, 3, 5, 40, 700, 2000]) {
    for (const maxKey of [6, 511]) {
      if (count > 700 && maxKey > 6) continue;
      const values = new Map<string, Buffer>();
      while (values.size < count) {
        const key = String(random.integer(1e9))
          .repeat(60)
          .slice(0, 1 + random.integer(maxKey));
        const length = [0, 1, 2020 + random.integer(30), random.integer(100), 4080, 4081, 8177][
          random.integer(7)
        ];
        values.set(key, Buffer.alloc(length, key));
      }
      const entries = [...values].sort(([a], [b]) => (a < b ? -1 : 1));
      const path = await write(entries.map(([key, value]) => entry(key, value)));
      assert.deepEqual(readAll(path), entries);
    }
  }
});

test('keys that do not ascend, or are empty or too long, are not written', async () => {
  const big = 'k'.repeat(512);
  for (const keys of [['b', 'a'], ['a', 'a'], [''], [big]]) {
    await assert.rejects(write(keys.map((key) => entry(key, 'x'))), RangeError);
  }
});

test('pages beyond 4 GiB are found', async () => {
  // A file with a hole: its only leaf, and the value's page, are moved behind 5 and 6 GiB.
  const source = readFileSync(await write([entry('a', 'x'.repeat(5000)), entry('b', 'small')]));
  const [leafAt, valueAt] = [5 * 2 ** 30, 6 * 2 ** 30];
  const value = source.subarray(2 * 4096, 4 * 4096);
  const leaf = source.subarray(4 * 4096, 5 * 4096);
  value.writeBigUInt64LE(BigInt(valueAt / 4096));
  leaf.writeBigUInt64LE(BigInt(leafAt / 4096));
  const pointer = leaf.readUInt16LE(16) + 8 + 1;
  leaf.writeBigUInt64LE(BigInt(valueAt / 4096), pointer);
  source.writeBigUInt64LE(BigInt(leafAt / 4096), 4096 + 88 + 40);
  const path = store(source.subarray(0, 8192));
  const { open } = await import('node:fs/promises');
  const file = await open(path, 'r+');
  await file.write(leaf, 0, 4096, leafAt);
  await file.write(value, 0, 8192, valueAt);
  await file.close();
  assert.deepEqual(
    readAll(path).map(([key, bytes]) => [key, bytes.length]),
    [
      ['a', 5000],
      ['b', 5],
    ],
  );
});

/** A tree of depth 2: root in the last page, leaves, a value of two pages. */
async function sample(): Promise<Buffer> {
  const entries = Array.from({ length: 12 }, (_, i) =>
    entry(String(10 + i), 'v'.repeat(i === 3 ? 6000 : 900)),
  );
  return readFileSync(await write(entries));
}

test('a damaged file is one error that names it, whatever the damage', async (t) => {
  const bytes = await sample();
  const rootAt = bytes.length - 4096;
  const root = Number(bytes.readBigUInt64LE(4096 + 88 + 40));
  assert.equal(root * 4096, rootAt);
  const leaf = bytes.readUInt32LE(rootAt + bytes.readUInt16LE(rootAt + 16)) * 4096;
  const u16 = (at: number, value: number) => (copy: Buffer) => void copy.writeUInt16LE(value, at);
  const u32 = (at: number, value: number) => (copy: Buffer) => void copy.writeUInt32LE(value, at);
  const u64 = (at: number, value: bigint) => (copy: Buffer) => void copy.writeBigUInt64LE(value, at);
  const metas = (change: (at: number) => (copy: Buffer) => void) => (copy: Buffer) => {
    for (const at of [0, 4096]) change(at)(copy);
  };
  const main = 4096 + 88;
  const firstChild = rootAt + bytes.readUInt16LE(rootAt + 16);
  const firstNode = leaf + bytes.readUInt16LE(leaf + 16);
  const overflow = bytes.indexOf(Buffer.from([4, 0, 2, 0, 0, 0]), 8192) - 10;
  const cases: [string, (copy: Buffer) => void, RegExp][] = [
    ['magic', metas((at) => u32(at + 16, 1)), /expected an LMDB data file/],
    ['version', metas((at) => u32(at + 20, 2)), /expected an LMDB data file/],
    ['page size', metas((at) => u32(at + 40, 4095)), /expected an LMDB data file/],
    ['page size 0', metas((at) => u32(at + 40, 0)), /expected an LMDB data file/],
    ['huge page size', metas((at) => u32(at + 40, 2 ** 31)), /expected an LMDB data file/],
    ['kind of keys', u16(main + 4, 4), /keys are of a kind/],
    ['depth 0', u16(main + 6, 0), /header claims/],
    ['depth 1', u16(main + 6, 1), /expected a leaf/],
    ['depth 3', u16(main + 6, 3), /expected a branch/],
    ['depth 60000', u16(main + 6, 60000), /header claims/],
    ['too many keys', u64(main + 32, 2n ** 63n), /header claims/],
    ['one key more', u64(main + 32, 13n), /has 12 keys, its header says 13/],
    ['one key less', u64(main + 32, 11n), /more than the 11 keys/],
    ['root beyond the file', u64(main + 40, 1n << 40n), /the file has \d+ pages/],
    ['root is a meta page', u64(main + 40, 1n), /damaged at page 1/],
    ['root is a leaf', u64(main + 40, BigInt(leaf / 4096)), /expected a branch/],
    ['no root, but keys', u64(main + 40, 2n ** 64n - 1n), /header claims/],
    ['a branch that is its own child', u32(firstChild, root), /expected a leaf/],
    ['a child twice', u32(rootAt + bytes.readUInt16LE(rootAt + 18), leaf / 4096), /do not ascend/],
    ['a child of 48 bits', u16(firstChild + 4, 0xffff), /the file has/],
    ['another page number', u64(leaf, 77n), /expected a leaf/],
    ['flags of a page', u16(leaf + 10, 0x22), /expected a leaf/],
    ['free space below the header', u16(leaf + 12, 8), /free space/],
    ['free space beyond the page', u16(leaf + 12, 0xfff0), /free space/],
    ['odd free space', u16(leaf + 12, bytes.readUInt16LE(leaf + 12) + 1), /free space/],
    ['a node in the header', u16(leaf + 16, 4), /a node lies outside/],
    ['a node behind the page', u16(leaf + 16, 4094), /a node lies outside/],
    ['a key behind the page', u16(firstNode + 6, 0xffff), /a node lies outside/],
    ['a value behind the page', u32(firstNode, 0xffffffff), /a node lies outside/],
    ['a named database', u16(firstNode + 4, 2), /another database/],
    ['several values', u16(firstNode + 4, 6), /another database/],
    [
      'overflow of 4 GiB',
      (copy) => {
        u16(firstNode + 4, 1)(copy);
        u32(firstNode, 0xffffffff)(copy);
        u64(firstNode + 10, 2n)(copy);
      },
      /truncated or damaged/,
    ],
    [
      'overflow page that is a leaf',
      (copy) => {
        u16(firstNode + 4, 1)(copy);
        u64(firstNode + 10, BigInt(leaf / 4096))(copy);
      },
      /expected a value of 900/,
    ],
    [
      'overflow page far away',
      (copy) => {
        u16(firstNode + 4, 1)(copy);
        u64(firstNode + 10, 2n ** 64n - 1n)(copy);
      },
      /truncated or damaged/,
    ],
    ['overflow of fewer pages', u32(overflow + 12, 1), /expected a value of 6000/],
    ['keys exchanged', u16(leaf + 16, bytes.readUInt16LE(leaf + 18)), /do not ascend/],
  ];
  for (const [name, change, message] of cases) {
    await t.test(name, () => {
      const copy = Buffer.from(bytes);
      change(copy);
      const path = store(copy);
      assertRefused(() => readAll(path), path, message, name);
    });
  }
  await t.test('a file that is cut anywhere', () => {
    for (const length of [
      0,
      15,
      151,
      4095,
      4096,
      8192,
      rootAt - 4096,
      rootAt,
      rootAt + 100,
      bytes.length - 1,
    ]) {
      const path = store(bytes.subarray(0, length));
      assertRefused(() => readAll(path), path, /LMDB|truncated|pages/, `cut to ${length}`);
    }
  });
});

const MUTATIONS = 3000;

test(`${MUTATIONS} damaged files: each is read, or is one error of ours`, async () => {
  const samples = [await sample(), python('valid_pairs'), await sample()];
  const path = store(samples[0]);
  let refused = 0;
  for (let seed = 0; seed < MUTATIONS; seed++) {
    // Each is a function of its number alone, so that one can be replayed.
    const random = new Random('lmdb fuzz', seed);
    const copy = Buffer.from(samples[seed % samples.length]);
    for (let changes = 1 + random.integer(4); changes > 0; changes--) {
      // Mostly where numbers are: headers of pages and nodes.
      const page = random.integer(copy.length / 4096) * 4096;
      const within = [random.integer(40), random.integer(160), random.integer(4096)][random.integer(3)];
      const value = [0, 1, 2, 16, 0x7f, 0x80, 0xff, random.integer(256)][random.integer(8)];
      copy.fill(value, page + within, Math.min(page + within + [1, 2, 4, 8][random.integer(4)], copy.length));
    }
    writeFileSync(path, random.integer(10) === 0 ? copy.subarray(0, random.integer(copy.length)) : copy);
    const read = () => readAll(path, false);
    if (await isRefused(read, `mutation ${seed}`, { file: path, message: 500 })) refused++;
  }
  assert.ok(refused > MUTATIONS / 4 && refused < MUTATIONS, `${refused} refused`);
});
