import { closeSync, fstatSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';
import { sizeOf } from '../shape.js';
import { writeFileAtomic } from './atomic.js';
import { bfloat16ToFloat32, float16ToFloat32 } from './half.js';
import { bytesOf, MAX_TRANSFER_BYTES, openForReading, readFully } from './readFile.js';

/** Values of a tensor in memory. BOOL is a Uint8Array of 0 and 1. */
export type TensorData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array;

/** A tensor of a file. `dtype` is the file's; F16 and BF16 arrive widened to float32. */
export interface StoredTensor {
  shape: number[];
  dtype: Dtype;
  data: TensorData;
}

/** A tensor to write; its dtype follows from the array's class. */
export interface WritableTensor {
  shape: readonly number[];
  data: TensorData;
}

/** What the header says of one tensor; begin and end count bytes from the end of the header. */
export interface TensorEntry {
  name: string;
  shape: number[];
  dtype: Dtype;
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  /** In the order of their data. */
  tensors: TensorEntry[];
  metadata: Record<string, string>;
  /** Offset of the first data byte in the file. */
  dataStart: number;
}

export type Dtype = keyof typeof DTYPES;

interface DtypeKind {
  bytes: number;
  /** An array of the memory form. */
  create: (length: number) => TensorData;
  /** Where the file's form differs: turns raw 16-bit values into the memory form. */
  widen?: (from: Uint16Array, to: Float32Array) => void;
}

const DTYPES = {
  F64: { bytes: 8, create: (n) => new Float64Array(n) },
  F32: { bytes: 4, create: (n) => new Float32Array(n) },
  F16: { bytes: 2, create: (n) => new Float32Array(n), widen: float16ToFloat32 },
  BF16: { bytes: 2, create: (n) => new Float32Array(n), widen: bfloat16ToFloat32 },
  I64: { bytes: 8, create: (n) => new BigInt64Array(n) },
  I32: { bytes: 4, create: (n) => new Int32Array(n) },
  I16: { bytes: 2, create: (n) => new Int16Array(n) },
  I8: { bytes: 1, create: (n) => new Int8Array(n) },
  U8: { bytes: 1, create: (n) => new Uint8Array(n) },
  BOOL: { bytes: 1, create: (n) => new Uint8Array(n) },
} satisfies Record<string, DtypeKind>;

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Reads a safetensors file (https://github.com/huggingface/safetensors): an 8-byte little-endian header length, a
 * JSON header, the tensors' bytes. Each tensor is read into its own array; the file as a whole is never in memory.
 *
 * @returns tensors by name, in the order of their data
 * @throws UserError naming file and tensor where the file breaks the format: nothing is allocated that the file's
 * own size does not cover
 */
export function readSafetensors(path: string): Map<string, StoredTensor> {
  return withFile(path, (file) => {
    const { tensors, dataStart } = readHeader(file, path);
    return new Map(
      tensors.map(({ name, shape, dtype, begin, end }) => {
        const data = readTensor(
          file,
          dataStart + begin,
          end - begin,
          DTYPES[dtype],
          `${path}: tensor "${name}"`,
        );
        return [name, { shape, dtype, data }];
      }),
    );
  });
}

/** Reads and checks a file's header alone: names, shapes, dtypes and metadata. Throws as readSafetensors does. */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  return withFile(path, (file) => readHeader(file, path));
}

/**
 * Writes tensors in the given order, atomically and without a copy of them in memory. The same input gives the same
 * bytes.
 *
 * @param metadata strings for the header's `__metadata__`
 * @throws UserError for a shape that does not match its data's length, or the name `__metadata__`
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, WritableTensor>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const header = encodeHeader(path, tensors, metadata);
  writeFileAtomic(path, (append) => {
    append(header);
    for (const { data } of tensors.values()) {
      const bytes = bytesOf(data);
      for (let start = 0; start < bytes.length; start += MAX_TRANSFER_BYTES) {
        append(bytes.subarray(start, start + MAX_TRANSFER_BYTES));
      }
    }
  });
}

function encodeHeader(
  path: string,
  tensors: ReadonlyMap<string, WritableTensor>,
  metadata: Readonly<Record<string, string>>,
): Buffer {
  // Written entry by entry: as keys of one object, names that look like numbers would move to the front.
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    if (name === '__metadata__') throw new UserError(`${path}: a tensor can't be named "__metadata__"`);
    if (sizeOf(shape) !== data.length) {
      throw new UserError(
        `${path}: tensor "${name}" has ${data.length} values, its shape [${shape}] says otherwise`,
      );
    }
    const entry = { dtype: dtypeOf(data), shape, data_offsets: [offset, offset + data.byteLength] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    offset += data.byteLength;
  }
  const json = Buffer.from(`{${entries.join(',')}}`);
  // Padded with spaces so that the data starts at a multiple of 8.
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}

function dtypeOf(data: TensorData): Dtype {
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Float64Array) return 'F64';
  if (data instanceof BigInt64Array) return 'I64';
  if (data instanceof Int32Array) return 'I32';
  if (data instanceof Int16Array) return 'I16';
  return data instanceof Int8Array ? 'I8' : 'U8';
}

function withFile<T>(path: string, use: (file: number) => T): T {
  const file = openForReading(path);
  try {
    return use(file);
  } finally {
    closeSync(file);
  }
}

function readHeader(file: number, path: string): SafetensorsHeader {
  const size = fstatSync(file).size;
  if (size < 8) throw new UserError(`${path}: no safetensors file (${size} bytes, a header needs more)`);
  const prefix = Buffer.alloc(8);
  readFully(file, 0, prefix, path);
  const length = Number(prefix.readBigUInt64LE());
  if (length > MAX_HEADER_BYTES || length > size - 8) {
    throw new UserError(
      `${path}: no safetensors file, or a truncated one (header of ${length} bytes in a file of ${size})`,
    );
  }
  const bytes = Buffer.alloc(length);
  readFully(file, 8, bytes, path);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new UserError(`${path}: no safetensors file (its header is no JSON: ${messageOf(error)})`);
  }
  if (!isObject(header)) throw new UserError(`${path}: no safetensors file (its header is no JSON object)`);
  const { __metadata__: metadata = {}, ...rest } = header;
  if (!isObject(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw new UserError(`${path}: expected "__metadata__" to hold strings only`);
  }
  const tensors = Object.entries(rest).map(([name, entry]) => parseEntry(name, entry, path));
  tensors.sort((one, other) => one.begin - other.begin || one.end - other.end);
  requireCovered(tensors, size - 8 - length, path);
  return { tensors, metadata: metadata as Record<string, string>, dataStart: 8 + length };
}

function parseEntry(name: string, entry: unknown, path: string): TensorEntry {
  const where = `${path}: tensor "${name.slice(0, 200)}"`;
  if (!isObject(entry)) throw new UserError(`${where}: its header entry is no object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPES, dtype)) {
    throw new UserError(
      `${where}: dtype ${JSON.stringify(dtype)} is none of ${Object.keys(DTYPES).join(', ')}`,
    );
  }
  if (!isCountList(shape)) throw new UserError(`${where}: its shape is no list of whole numbers`);
  if (!isCountList(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new UserError(`${where}: its data_offsets are no range [begin, end]`);
  }
  const [begin, end] = offsets;
  const kind: DtypeKind = DTYPES[dtype as Dtype];
  if (sizeOf(shape) * kind.bytes !== end - begin) {
    throw new UserError(
      `${where}: ${dtype} [${shape.slice(0, 8)}] does not fill its ${end - begin} bytes of data`,
    );
  }
  return { name, shape, dtype: dtype as Dtype, begin, end };
}

/** The format allows neither overlaps nor holes, so sorted ranges must follow one another and end with the file. */
function requireCovered(tensors: readonly TensorEntry[], dataBytes: number, path: string): void {
  let covered = 0;
  for (const { name, begin, end } of tensors) {
    if (begin !== covered) {
      const found = begin < covered ? 'overlaps the data before it' : 'leaves a hole before its data';
      throw new UserError(`${path}: tensor "${name}" ${found} (${begin} where ${covered} was expected)`);
    }
    covered = end;
  }
  if (covered !== dataBytes) {
    throw new UserError(
      `${path}: ${covered > dataBytes ? 'truncated' : 'too long'} (${dataBytes} bytes of data, its header says ${covered})`,
    );
  }
}

function readTensor(
  file: number,
  position: number,
  bytes: number,
  kind: DtypeKind,
  where: string,
): TensorData {
  const data = kind.create(bytes / kind.bytes);
  if (!kind.widen) {
    readFully(file, position, bytesOf(data), where);
    return data;
  }
  const raw = new Uint16Array(bytes / 2);
  readFully(file, position, bytesOf(raw), where);
  kind.widen(raw, data as Float32Array);
  return data;
}

function isCountList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
