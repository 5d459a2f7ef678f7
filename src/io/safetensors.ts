import { messageOf, UserError } from '../errors.js';
import { isCount, isShape, sizeOf } from '../shape.js';
import { writeFileAtomic } from './atomic.js';
import { isRecord, parseJson } from './json.js';
import { RangedFile } from './readFile.js';
import {
  byteLengthOf,
  type Dtype,
  elementBytes,
  type LazyTensor,
  MAX_NAME_LENGTH,
  readValues,
  type TensorData,
  tensorOf,
} from './tensor.js';

/** A tensor of a file, read. `dtype` is the file's; F16 and BF16 arrive widened to float32. */
export interface StoredTensor {
  shape: number[];
  dtype: Dtype;
  data: TensorData;
}

/** A tensor in memory to write; its dtype follows from the array's class. */
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

/** A model of a thousand tensors has a header of 0.1 MB. (The format itself allows 100 MB.) */
const MAX_HEADER_BYTES = 4 << 20;

/**
 * The tensors of a safetensors file (https://github.com/huggingface/safetensors): an 8-byte little-endian header
 * length, a JSON header, the tensors' bytes. Only the header is read; each tensor is when its values are asked for.
 *
 * @returns tensors by name, in the order of their data
 * @throws UserError naming file and tensor where the file breaks the format: nothing is allocated that the file's
 * own size does not cover
 */
export function openSafetensors(path: string): Map<string, LazyTensor> {
  const file = new RangedFile(path);
  const { tensors, dataStart } = readHeader(file);
  return new Map(
    tensors.map(({ name, shape, dtype, begin, end }) => [
      name,
      {
        shape,
        dtype,
        read: () => file.read(dataStart + begin, end - begin, `${path}: tensor "${name}"`),
        place: file.at(dataStart + begin, `${path}: tensor "${name}"`),
      },
    ]),
  );
}

/** All tensors of a small file, read at once. Throws as openSafetensors does. */
export function readSafetensors(path: string): Map<string, StoredTensor> {
  return new Map(
    [...openSafetensors(path)].map(([name, tensor]) => [
      name,
      { shape: [...tensor.shape], dtype: tensor.dtype, data: readValues(tensor) },
    ]),
  );
}

/** Whether a file begins as a safetensors file does. */
export function isSafetensorsFile(path: string): boolean {
  const file = new RangedFile(path);
  return file.size > 8 && file.read(8, 1)[0] === '{'.charCodeAt(0);
}

/** Reads and checks a file's header alone: names, shapes, dtypes and metadata. Throws as openSafetensors does. */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  return readHeader(new RangedFile(path));
}

/**
 * Writes tensors in the given order, atomically and one after the other, so that lazy ones are never all in memory.
 * The same input gives the same bytes.
 *
 * @param metadata strings for the header's `__metadata__`
 * @throws UserError for a shape that does not match its data's length, or the name `__metadata__`
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, LazyTensor | WritableTensor>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const lazy = [...tensors].map(([name, tensor]): [string, LazyTensor] => [
    name,
    'read' in tensor ? tensor : tensorOf(tensor.shape, tensor.data),
  ]);
  const header = encodeHeader(path, lazy, metadata);
  writeFileAtomic(path, (append) => {
    append(header);
    for (const [name, tensor] of lazy) {
      const bytes = tensor.read();
      if (bytes.length !== byteLengthOf(tensor)) {
        const values = bytes.length / elementBytes[tensor.dtype];
        throw new UserError(
          `${path}: tensor "${name}" has ${values} values, its shape [${tensor.shape}] says otherwise`,
        );
      }
      append(bytes);
    }
  });
}

function encodeHeader(
  path: string,
  tensors: readonly [string, LazyTensor][],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  // Written entry by entry: as keys of one object, names that look like numbers would move to the front.
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const [name, { shape, dtype }] of tensors) {
    if (name === '__metadata__') throw new UserError(`${path}: a tensor can't be named "__metadata__"`);
    const end = offset + byteLengthOf({ shape, dtype });
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`);
    offset = end;
  }
  const json = Buffer.from(`{${entries.join(',')}}`);
  // Padded with spaces so that the data starts at a multiple of 8.
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}

function readHeader(file: RangedFile): SafetensorsHeader {
  const { path, size } = file;
  if (size < 8) throw new UserError(`${path}: no safetensors file (${size} bytes, a header needs more)`);
  const length = Number(Buffer.from(file.read(0, 8).buffer).readBigUInt64LE());
  if (length > size - 8) {
    throw new UserError(
      `${path}: no safetensors file, or a truncated one (header of ${length} bytes in a file of ${size})`,
    );
  }
  if (length > MAX_HEADER_BYTES) {
    throw new UserError(`${path}: its header has ${length} bytes, at most ${MAX_HEADER_BYTES} are read`);
  }
  const bytes = file.read(8, length);
  let header: unknown;
  try {
    header = parseJson(bytes);
  } catch (error) {
    throw new UserError(`${path}: no safetensors file (its header is no JSON: ${messageOf(error)})`);
  }
  if (!isRecord(header)) throw new UserError(`${path}: no safetensors file (its header is no JSON object)`);
  const { __metadata__: metadata = {}, ...rest } = header;
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw new UserError(`${path}: expected "__metadata__" to hold strings only`);
  }
  const tensors = Object.entries(rest).map(([name, entry]) => parseEntry(name, entry, path));
  tensors.sort((one, other) => one.begin - other.begin || one.end - other.end);
  requireCovered(tensors, size - 8 - length, path);
  return { tensors, metadata: metadata as Record<string, string>, dataStart: 8 + length };
}

function parseEntry(name: string, entry: unknown, path: string): TensorEntry {
  const where = `${path}: tensor "${name.slice(0, 200)}"`;
  if (name.length > MAX_NAME_LENGTH)
    throw new UserError(`${where} … has a name of ${name.length} characters`);
  if (!isRecord(entry)) throw new UserError(`${where}: its header entry is no object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype)) {
    const found = JSON.stringify(dtype ?? null).slice(0, 100);
    throw new UserError(`${where}: dtype ${found} is none of ${Object.keys(elementBytes).join(', ')}`);
  }
  if (!isShape(shape))
    throw new UserError(`${where}: its shape is no list of whole numbers that a tensor can have`);
  if (!isCountList(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new UserError(`${where}: its data_offsets are no range [begin, end]`);
  }
  const [begin, end] = offsets;
  if (sizeOf(shape) * elementBytes[dtype as Dtype] !== end - begin) {
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

function isCountList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}
