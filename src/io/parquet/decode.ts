import * as zlib from 'node:zlib';
import { compressors, decompressZstd } from 'hyparquet-compressors';
import { messageOf, UserError } from '../../errors.js';
import type { RangedFile } from '../readFile.js';
import { damaged, MAX_PAGE_BYTES, type Page } from './pages.js';

/** Entries of a page of bytes or text. */
export interface DecodedPage {
  /** which entries begin a row: those with level 0; absent where each does */
  repetition?: Uint8Array;
  /** which entries hold a value: those at the column's highest level; absent where each does */
  definition?: Uint8Array;
  /** the values that are there, as views of the page */
  values: Uint8Array[];
}

/** What a page is decoded with. */
export interface PageColumn {
  codec: number;
  maxDefinition: number;
  maxRepetition: number;
}

const CODECS = ['none', 'SNAPPY', 'GZIP', 'LZO', 'BROTLI', 'LZ4', 'ZSTD', 'LZ4_RAW'];
const PLAIN = 0;
const PLAIN_DICTIONARY = 2;
const RLE_DICTIONARY = 8;
const DELTA_LENGTH = 6;
const DELTA_STRINGS = 7;

/**
 * Reads and decodes a page of a column of bytes: plain, by dictionary, or as differences (of lengths, or of strings).
 *
 * @param dictionary values of the chunk's dictionary page, if it has one
 * @throws UserError where the bytes are damaged, or in an encoding or compression that is not read
 */
export function decodePage(
  file: RangedFile,
  page: Page,
  column: PageColumn,
  dictionary: readonly Uint8Array[] | undefined,
  where: string,
): DecodedPage {
  const raw = Buffer.from(file.read(page.offset, page.compressedSize, where).buffer);
  try {
    if (page.kind === 'data v2') return decodeSecondVersion(raw, page, column, dictionary);
    const bytes = decompress(raw, page.uncompressedSize, column.codec);
    if (page.kind === 'dictionary') {
      if (page.encoding !== PLAIN && page.encoding !== PLAIN_DICTIONARY) throw unknownEncoding(page);
      return { values: plainValues(bytes, page.valueCount) };
    }
    const cursor = { bytes, position: 0 };
    const repetition = levelsWithLength(cursor, page.valueCount, column.maxRepetition);
    const definition = levelsWithLength(cursor, page.valueCount, column.maxDefinition);
    return {
      repetition,
      definition,
      values: decodeValues(
        bytes.subarray(cursor.position),
        page,
        present(definition, page, column),
        dictionary,
      ),
    };
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${where}: ${error.message}`);
    throw damaged(where, `its page at ${page.offset}: ${messageOf(error)}`);
  }
}

function decodeSecondVersion(
  raw: Buffer,
  page: Page,
  column: PageColumn,
  dictionary: readonly Uint8Array[] | undefined,
): DecodedPage {
  const { repetitionBytes, definitionBytes, valueCount } = page;
  const levelBytes = repetitionBytes + definitionBytes;
  const levels = (start: number, length: number, highest: number) =>
    highest === 0
      ? undefined
      : narrow(hybrid(raw.subarray(start, start + length), bitWidth(highest), valueCount), highest);
  const repetition = levels(0, repetitionBytes, column.maxRepetition);
  const definition = levels(repetitionBytes, definitionBytes, column.maxDefinition);
  const rest = raw.subarray(levelBytes);
  const bytes = page.isCompressed ? decompress(rest, page.uncompressedSize - levelBytes, column.codec) : rest;
  const values = decodeValues(bytes, page, present(definition, page, column), dictionary);
  return { repetition, definition, values };
}

/** How many entries hold a value. */
function present(definition: Uint8Array | undefined, page: Page, { maxDefinition }: PageColumn): number {
  if (definition === undefined) return page.valueCount;
  let count = 0;
  for (const level of definition) if (level === maxDefinition) count++;
  return count;
}

function decodeValues(
  bytes: Buffer,
  page: Page,
  count: number,
  dictionary: readonly Uint8Array[] | undefined,
): Uint8Array[] {
  if (page.encoding === PLAIN) return plainValues(bytes, count);
  if (page.encoding === DELTA_LENGTH) return deltaLengthValues(bytes, count);
  if (page.encoding === DELTA_STRINGS) return deltaStrings(bytes, count);
  if (page.encoding !== RLE_DICTIONARY && page.encoding !== PLAIN_DICTIONARY) throw unknownEncoding(page);
  if (dictionary === undefined) throw new Error('it refers to a dictionary that is not there');
  if (count === 0) return [];
  const width = bytes[0];
  if (!(width <= 32)) throw new Error(`indices of ${width} bits`);
  return Array.from(hybrid(bytes.subarray(1), width, count), (index) => {
    if (index >= dictionary.length) throw new Error('an index beyond its dictionary');
    return dictionary[index];
  });
}

/** Each value after its length in four bytes. */
function plainValues(bytes: Buffer, count: number): Uint8Array[] {
  const values: Uint8Array[] = [];
  for (let at = 0; values.length < count; ) {
    const start = at + 4;
    const end = start + bytes.readUInt32LE(at);
    if (end > bytes.length) throw new Error('a value reaches beyond its page');
    values.push(bytes.subarray(start, end));
    at = end;
  }
  return values;
}

/** All lengths, as differences in blocks of bit-packed numbers, then all values. */
function deltaLengthValues(bytes: Buffer, count: number): Uint8Array[] {
  const { numbers, end } = deltaNumbers(bytes, count);
  let at = end;
  return numbers.map((length) => {
    if (!(length >= 0 && at + length <= bytes.length)) throw new Error('a value reaches beyond its page');
    at += length;
    return bytes.subarray(at - length, at);
  });
}

/** How much each value shares with the start of the one before, then the rest of each. */
function deltaStrings(bytes: Buffer, count: number): Uint8Array[] {
  const { numbers: shared, end } = deltaNumbers(bytes, count);
  let last = Buffer.alloc(0);
  let total = 0;
  return deltaLengthValues(bytes.subarray(end), count).map((rest, i) => {
    if (!(shared[i] >= 0 && shared[i] <= last.length)) throw new Error('a value shares more than there is');
    total += shared[i] + rest.length;
    if (total > MAX_PAGE_BYTES) throw new Error('its values have more than 1 GiB');
    last = Buffer.concat([last.subarray(0, shared[i]), rest]);
    return last;
  });
}

function deltaNumbers(bytes: Buffer, count: number): { numbers: number[]; end: number } {
  const cursor = { bytes, position: 0 };
  const blockSize = varint(cursor);
  const blockParts = varint(cursor);
  const partSize = blockSize / blockParts;
  if (varint(cursor) !== count) throw new Error('another number of lengths than of values');
  if (!Number.isInteger(partSize) || partSize % 32 !== 0 || partSize < 32 || blockSize > 1 << 20) {
    throw new Error('blocks of an impossible size');
  }
  let last = zigzag(cursor);
  const numbers = count === 0 ? [] : [last];
  while (numbers.length < count) {
    const smallest = zigzag(cursor);
    const widths = bytes.subarray(cursor.position, cursor.position + blockParts);
    cursor.position += blockParts;
    if (cursor.position > bytes.length) throw new Error('its lengths are cut off');
    for (let part = 0; part < blockParts && numbers.length < count; part++) {
      const width = widths[part];
      const wanted = Math.min(partSize, count - numbers.length);
      for (const difference of bitPacked(bytes, cursor.position, width, wanted)) {
        last += smallest + difference;
        numbers.push(last);
      }
      cursor.position += (partSize * width) / 8;
    }
  }
  return { numbers, end: cursor.position };
}

interface Cursor {
  bytes: Buffer;
  position: number;
}

function levelsWithLength(cursor: Cursor, count: number, highest: number): Uint8Array | undefined {
  if (highest === 0) return undefined;
  const start = cursor.position + 4;
  const end = start + cursor.bytes.readUInt32LE(cursor.position);
  if (end > cursor.bytes.length) throw new Error('its levels are cut off');
  cursor.position = end;
  return narrow(hybrid(cursor.bytes.subarray(start, end), bitWidth(highest), count), highest);
}

function narrow(levels: Uint32Array, highest: number): Uint8Array {
  return Uint8Array.from(levels, (level) => {
    if (level > highest) throw new Error('a level that its column does not have');
    return level;
  });
}

/** `count` numbers of `width` bits in runs, either of one number repeated or bit-packed in eights. */
function hybrid(bytes: Buffer, width: number, count: number): Uint32Array {
  const numbers = new Uint32Array(count);
  const valueBytes = Math.ceil(width / 8);
  const cursor = { bytes, position: 0 };
  for (let done = 0; done < count; ) {
    const header = varint(cursor);
    const run = Math.floor(header / 2);
    if (run === 0) throw new Error('an empty run');
    if (header % 2 === 0) {
      const length = Math.min(run, count - done);
      const value = valueBytes === 0 ? 0 : bytes.readUIntLE(cursor.position, valueBytes);
      cursor.position += valueBytes;
      numbers.fill(value, done, done + length);
      done += length;
    } else {
      const length = Math.min(run * 8, count - done);
      for (const number of bitPacked(bytes, cursor.position, width, length)) numbers[done++] = number;
      cursor.position += run * width;
    }
  }
  return numbers;
}

/** Numbers of `width` bits one after the other, from the lowest bit of each byte on. */
function* bitPacked(bytes: Buffer, start: number, width: number, count: number): Generator<number> {
  if (width > 32 || start + Math.ceil((count * width) / 8) > bytes.length) {
    throw new Error('bit-packed numbers that are cut off or too wide');
  }
  for (let i = 0, bit = start * 8; i < count; i++) {
    let number = 0;
    for (let taken = 0; taken < width; ) {
      const inByte = bit % 8;
      const taking = Math.min(8 - inByte, width - taken);
      number += ((bytes[Math.floor(bit / 8)] >> inByte) & ((1 << taking) - 1)) * 2 ** taken;
      taken += taking;
      bit += taking;
    }
    yield number;
  }
}

function varint(cursor: Cursor): number {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = cursor.bytes.readUInt8(cursor.position++);
    value += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return value;
  }
  throw new Error('a number of more than 32 bits');
}

function zigzag(cursor: Cursor): number {
  const value = varint(cursor);
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

function bitWidth(highest: number): number {
  return 32 - Math.clz32(highest);
}

/** @throws Error unless exactly `size` bytes come out */
function decompress(bytes: Buffer, size: number, codec: number): Buffer {
  const plain = decompressAny(bytes, size, codec);
  if (plain.length !== size) throw new Error(`${plain.length} bytes unpacked, expected ${size}`);
  return Buffer.from(plain.buffer, plain.byteOffset, plain.length);
}

function decompressAny(bytes: Buffer, size: number, codec: number): Uint8Array {
  if (codec === 0) return bytes;
  // The header's size is the limit of what is unpacked, whatever the compressed bytes say.
  const maxOutputLength = Math.max(size, 1);
  const name = CODECS[codec];
  if (name === 'SNAPPY' || name === 'LZ4_RAW') return compressors[name]!(bytes, size);
  if (name === 'GZIP') return zlib.gunzipSync(bytes, { maxOutputLength });
  if (name === 'BROTLI') return zlib.brotliDecompressSync(bytes, { maxOutputLength });
  // Node.js has Zstandard from 22.15 on.
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof zlib.gunzipSync };
  if (name === 'ZSTD') {
    return zstdDecompressSync?.(bytes, { maxOutputLength }) ?? decompressZstd(bytes, new Uint8Array(size));
  }
  throw new UserError(
    `compression ${name ?? codec} is not read; write the file with SNAPPY, ZSTD, GZIP, BROTLI or none`,
  );
}

function unknownEncoding({ encoding }: Page): UserError {
  return new UserError(
    `a page in encoding ${encoding} is not read; write the column plain or with a dictionary`,
  );
}
