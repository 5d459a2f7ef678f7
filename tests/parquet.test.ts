import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { ParquetFile, RowReader } from '../src/io/parquet/column.js';
import { Random } from '../src/random.js';
import { assertRefused, isRefused, scratch } from './hostile.js';
import { mutate } from './mutate.js';
import { fixture } from './support.js';

const { write } = scratch();
type ColumnData = Parameters<typeof parquetWriteBuffer>[0]['columnData'];
type Options = Omit<Parameters<typeof parquetWriteBuffer>[0], 'columnData'>;

function parquet(columnData: ColumnData, options: Options = {}): Buffer {
  return Buffer.from(parquetWriteBuffer({ columnData, ...options }));
}

/** Each row of a column as text. */
function rows(path: string, name: string): string[][] {
  const file = new ParquetFile(path);
  return Array.from(file.rows(file.column(name)!), (row) =>
    row.map((bytes) => Buffer.from(bytes).toString()),
  );
}

/** Reads everything that a dataset could ask of a file. */
function readAll(path: string): void {
  const file = new ParquetFile(path);
  for (const { name } of file.footer.columns) {
    const column = file.column(name, 'bytes');
    if (column === undefined) continue;
    for (const _ of file.rows(column));
    if (column.maxRepetition > 0) continue;
    const reader = new RowReader(file, column);
    for (let row = 0; row < Math.min(file.rowCount, 100); row++) reader.read(row);
  }
}

test('files that Arrow wrote: both versions of pages, dictionaries, structs, lists, nulls, row groups', () => {
  for (const name of ['arrow-v1-snappy.parquet', 'arrow-v2-zstd.parquet']) {
    const path = fixture('parquet', name);
    const each = <T>(value: (row: number) => T) => Array.from({ length: 12 }, (_, row) => value(row));
    assert.deepEqual(
      rows(path, 'caption'),
      each((row) => [['一只猫', '红色的苹果', '苹果'][row % 3]]),
    );
    assert.deepEqual(
      rows(path, 'captions'),
      each((row) => Array.from({ length: row % 4 }, (_, k) => `第${row}图第${k}句`)),
    );
    assert.deepEqual(
      rows(path, 'maybe'),
      each((row) => (row % 3 === 1 ? [] : [`c${row}`])),
    );
    const file = new ParquetFile(path);
    assert.equal(file.footer.rowGroups.length, 3);
    assert.equal(file.column('number'), undefined);
    assert.equal(file.column('image', 'nothing'), undefined);
    const images = new RowReader(file, file.column('image', 'bytes')!);
    for (const row of [11, 0, 5, 4, 11]) {
      const expected = Uint8Array.from({ length: 3 + row * 7 }, (_, k) => (row * 31 + k * 7) % 256);
      assert.deepEqual(Uint8Array.from(images.read(row)!), expected);
    }
  }
});

test('what another reader reads: every encoding, pages of any size, compressed or not', async () => {
  const random = new Random('parquet');
  const text = () => '猫狗abc'.slice(random.integer(3), 3 + random.integer(3)).repeat(random.integer(9));
  const strings = Array.from({ length: 3000 }, text);
  const nullable = strings.map((value, i) => (i % 5 === 0 ? null : value));
  for (const options of [
    { codec: 'UNCOMPRESSED' as const },
    { codec: 'SNAPPY' as const, pageSize: 500, rowGroupSize: [7, 1000] },
    { codec: 'GZIP' as const, compressors: { GZIP: (bytes: Uint8Array) => gzipSync(bytes) }, pageSize: 3000 },
  ]) {
    const columns = (['PLAIN', 'DELTA_LENGTH_BYTE_ARRAY', 'DELTA_BYTE_ARRAY'] as const).map((encoding) => ({
      name: encoding,
      data: strings,
      encoding,
    }));
    const path = write(
      parquet(
        [
          ...columns,
          { name: 'few', data: strings.map((each) => each.slice(0, 2)) },
          { name: 'maybe', data: nullable },
        ],
        options,
      ),
    );
    const bytes = readFileSync(path);
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    const { compressors } = await import('hyparquet-compressors');
    const expected = await parquetReadObjects({ file, compressors });
    assert.equal(expected.length, strings.length);
    for (const name of Object.keys(expected[0])) {
      assert.deepEqual(
        rows(path, name),
        expected.map((row) => (row[name] === null || row[name] === undefined ? [] : [row[name]])),
        `${name} ${options.codec}`,
      );
    }
    const reader = new RowReader(new ParquetFile(path), new ParquetFile(path).column('maybe')!);
    for (const row of [2999, 0, 1, 1500, 6, 7]) {
      assert.equal(reader.read(row) && Buffer.from(reader.read(row)!).toString(), nullable[row] ?? undefined);
    }
  }
});

test('a file that is damaged, or asks for more than is read, is refused by name', async () => {
  const good = parquet([{ name: 'text', data: ['a', 'b', 'c'], type: 'STRING' }], { codec: 'UNCOMPRESSED' });
  const footerLength = good.readUInt32LE(good.length - 8);
  const withLength = (length: number) => {
    const bytes = Buffer.from(good);
    bytes.writeUInt32LE(length, bytes.length - 8);
    return bytes;
  };
  const footer = (...bytes: number[]) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return Buffer.concat([Buffer.from('PAR1'), Buffer.from(bytes), length, Buffer.from('PAR1')]);
  };
  const encrypted = Buffer.from(good);
  encrypted.write('PARE', encrypted.length - 4);
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty', Buffer.alloc(0), /no Parquet file/],
    ['text', Buffer.from('a text that is no table at all'), /no Parquet file/],
    ['cut', good.subarray(0, -20), /no Parquet file, or cut off/],
    ['encrypted', encrypted, /encrypted/],
    ['a footer larger than the file', withLength(2 ** 32 - 1), /its footer of 4294967295 bytes does not fit/],
    ['a footer that begins elsewhere', withLength(footerLength - 1), /footer is damaged/],
    ['no footer', footer(0), /footer is damaged \(0 columns\)/],
    ['a number that never ends', footer(0x16, ...new Array(1000).fill(0xff)), /more than 64 bits/],
    ['a list longer than the file', footer(0x29, 0xfc, 0xff, 0xff, 0xff, 0x7f), /a list is cut off/],
    ['structs in structs', footer(...new Array(5000).fill(0x1c)), /nested too deep/],
    ['a name longer than the file', footer(0x18, 0xff, 0xff, 0xff, 0x7f), /end within a value/],
  ];
  for (const [what, bytes, message] of cases) {
    const path = write(bytes, '.parquet');
    assertRefused(() => readAll(path), path, message, what);
  }
  // The second page of levels says that its run goes on for a billion values.
  const nulls = parquet(
    [{ name: 'text', data: Array.from({ length: 1000 }, (_, i) => (i % 2 ? null : 'a')) }],
    {
      codec: 'UNCOMPRESSED',
    },
  );
  let refused = 0;
  for (let at = 4; at < 80; at++) {
    const bytes = Buffer.from(nulls);
    bytes.set([0xfe, 0xff, 0xff, 0xff, 0x0f], at);
    const path = write(bytes, '.parquet');
    if (await isRefused(() => readAll(path), `a run at ${at}`, { file: path })) refused++;
  }
  assert.ok(refused > 20);
});

test('6000 damaged files: each is read, or is one error of ours', async () => {
  const list = Array.from({ length: 40 }, (_, i) => `a text ${i % 7}`);
  const samples = [
    readFileSync(fixture('parquet', 'arrow-v1-snappy.parquet')),
    readFileSync(fixture('parquet', 'arrow-v2-zstd.parquet')),
    parquet([{ name: 'text', data: list, encoding: 'DELTA_BYTE_ARRAY' }], { codec: 'UNCOMPRESSED' }),
    parquet([{ name: 'text', data: list, encoding: 'DELTA_LENGTH_BYTE_ARRAY' }], { codec: 'UNCOMPRESSED' }),
    parquet([{ name: 'text', data: list }], { pageSize: 60 }),
  ];
  const path = write('', '.parquet');
  let refused = 0;
  for (let seed = 0; seed < 6000; seed++) {
    writeFileSync(path, mutate(samples[seed % samples.length], samples, new Random('parquet', seed)));
    if (await isRefused(() => readAll(path), `mutation ${seed}`, { file: path, time: 5000 })) refused++;
  }
  assert.ok(refused > 1500 && refused < 6000, `${refused} refused`);
});
