import { closeSync } from 'node:fs';
import { UserError } from '../../errors.js';
import { bfloat16ToFloat32, float16ToFloat32 } from '../../io/half.js';
import { openForReading, readFully } from '../../io/readFile.js';
import type { StoredTensor } from '../../io/safetensors.js';
import { sizeOf } from '../../shape.js';
import { PickleGlobal, PickleObject, type PickleValue, unpickle } from './pickle.js';
import { readZipDirectory, type ZipMember } from './zip.js';

const MAX_PICKLE = 256 * 2 ** 20;

interface StorageKind {
  dtype: StoredTensor['dtype'];
  bytes: number;
  /** Turns the file's bytes, little-endian and as long as the array, into the array that memory holds. */
  decode(bytes: Uint8Array<ArrayBuffer>): StoredTensor['data'];
}

const widen =
  (convert: (from: Uint16Array, to: Float32Array) => void) => (bytes: Uint8Array<ArrayBuffer>) => {
    const halves = new Uint16Array(bytes.buffer);
    const values = new Float32Array(halves.length);
    convert(halves, values);
    return values;
  };

const storageKinds: Readonly<Record<string, StorageKind>> = {
  'torch.FloatStorage': { dtype: 'F32', bytes: 4, decode: ({ buffer }) => new Float32Array(buffer) },
  'torch.HalfStorage': { dtype: 'F16', bytes: 2, decode: widen(float16ToFloat32) },
  'torch.BFloat16Storage': { dtype: 'BF16', bytes: 2, decode: widen(bfloat16ToFloat32) },
  'torch.LongStorage': { dtype: 'I64', bytes: 8, decode: ({ buffer }) => new BigInt64Array(buffer) },
  'torch.IntStorage': { dtype: 'I32', bytes: 4, decode: ({ buffer }) => new Int32Array(buffer) },
  'torch.DoubleStorage': { dtype: 'F64', bytes: 8, decode: ({ buffer }) => new Float64Array(buffer) },
};

/** A storage that the pickle refers to. */
class Storage extends PickleObject {
  constructor(
    readonly kind: StorageKind,
    readonly member: ZipMember,
    readonly name: string,
  ) {
    super();
  }
}

/** A tensor as the pickle describes it: a view of a storage, in elements. */
class TensorView extends PickleObject {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly strides: number[],
  ) {
    super();
  }
}

/**
 * The weights of a PyTorch checkpoint (the zip format of torch.save since 1.6): its `state_dict` entry, or the whole
 * dictionary where it has none, with the `module.` of data parallelism taken off the names. Half-precision arrives as
 * float32. Nothing in the file is executed, and tensors are read one by one from their place.
 *
 * @throws UserError where the file is damaged, asks for a class that no checkpoint needs, or holds no tensors
 */
export function readTorchWeights(path: string): Map<string, StoredTensor> {
  const file = openForReading(path);
  try {
    const members = readZipDirectory(file, path);
    const root = unpickleArchive(file, path, members);
    const dictionary =
      root instanceof Map && root.get('state_dict') instanceof Map ? root.get('state_dict') : root;
    const weights = new Map<string, StoredTensor>();
    if (dictionary instanceof Map) {
      for (const [name, value] of dictionary) {
        if (typeof name !== 'string' || !(value instanceof TensorView)) continue;
        weights.set(name.replace(/^module\./, ''), readTensor(file, value, `${path}, tensor ${name}`));
      }
    }
    if (weights.size === 0) throw new UserError(`${path} holds no tensors by name, so it is no checkpoint`);
    return weights;
  } finally {
    closeSync(file);
  }
}

function unpickleArchive(file: number, path: string, members: Map<string, ZipMember>): PickleValue {
  const name = [...members.keys()].find((member) => /^[^/]+\/data\.pkl$/.test(member));
  if (name === undefined) {
    throw new UserError(
      `${path} has no data.pkl: expected a file that torch.save wrote (not TorchScript, not PyTorch < 1.6)`,
    );
  }
  const { offset, size } = members.get(name)!;
  if (size > MAX_PICKLE)
    throw new UserError(`${path}: ${name} has ${size} bytes, more than any checkpoint needs`);
  const bytes = new Uint8Array(size);
  readFully(file, offset, bytes, path);
  const folder = name.slice(0, -'data.pkl'.length);
  const source = `${path}, ${name}`;
  return unpickle(bytes, source, {
    load: (id) => loadStorage(id, folder, members, source),
    construct: (callee, args) => construct(callee, args, source),
  });
}

/** A persistent id is ('storage', class, key, device, elements). */
function loadStorage(
  id: PickleValue,
  folder: string,
  members: Map<string, ZipMember>,
  source: string,
): Storage {
  const [tag, type, key] = Array.isArray(id) ? id : [];
  if (tag !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string') {
    throw new UserError(`${source}: a reference to something that is no tensor storage`);
  }
  const kind = storageKinds[type.name];
  if (kind === undefined) throw new UserError(`${source}: tensors of type ${type.name} are not supported`);
  const member = members.get(`${folder}data/${key}`);
  if (member === undefined) throw new UserError(`${source}: storage ${key} is missing from the archive`);
  return new Storage(kind, member, key);
}

/** The few calls that a checkpoint makes. Everything else is refused by name. */
function construct(callee: string, args: PickleValue[], source: string): PickleValue {
  switch (callee) {
    case 'collections.OrderedDict':
      return new Map();
    case 'torch._utils._rebuild_parameter':
      return args[0];
    case 'torch._utils._rebuild_tensor_v2': {
      const [storage, offset, shape, strides] = args;
      if (storage instanceof Storage && isIndex(offset) && isShape(shape) && isShape(strides)) {
        if (shape.length === strides.length) return new TensorView(storage, offset, shape, strides);
      }
      throw new UserError(`${source}: a tensor is described wrongly`);
    }
    default:
      throw new UserError(`${source} asks for ${callee}, which no checkpoint needs: it is not loaded`);
  }
}

function readTensor(
  file: number,
  { storage, offset, shape, strides }: TensorView,
  where: string,
): StoredTensor {
  const { kind, member } = storage;
  const count = sizeOf(shape);
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], offset);
  // A view with strides of 0 could name far more elements than its storage has.
  if (count * kind.bytes > member.size) {
    throw new UserError(
      `${where}: shape [${shape}] has more elements than its storage of ${member.size} bytes`,
    );
  }
  if (!Number.isSafeInteger(last) || (count > 0 && (last + 1) * kind.bytes > member.size)) {
    throw new UserError(`${where}: shape [${shape}] reaches beyond its storage of ${member.size} bytes`);
  }
  const contiguous = isContiguous(shape, strides);
  const span = count === 0 ? 0 : contiguous ? count : last - offset + 1;
  const bytes = new Uint8Array(span * kind.bytes);
  readFully(file, member.offset + offset * kind.bytes, bytes, where);
  const packed = contiguous ? bytes : gather(bytes, kind.bytes, shape, strides, count);
  return { shape, dtype: kind.dtype, data: kind.decode(packed) };
}

/** Copies the elements of a strided view into row-major order. */
function gather(
  bytes: Uint8Array,
  width: number,
  shape: readonly number[],
  strides: readonly number[],
  count: number,
): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(count * width);
  const index = shape.map(() => 0);
  for (let i = 0, from = 0; i < count; i++) {
    packed.set(bytes.subarray(from * width, (from + 1) * width), i * width);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return packed;
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}

function isIndex(value: PickleValue): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isShape(value: PickleValue): value is number[] {
  return Array.isArray(value) && value.every(isIndex);
}
