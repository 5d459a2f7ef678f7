import { UserError } from '../../errors.js';
import { type PickleValue, unpickle } from '../../io/pickle.js';
import type { RangedFile } from '../../io/readFile.js';
import { elementBytes } from '../../io/tensor.js';
import { MAX_PICKLE } from './archive.js';
import { construct, parseStorageId } from './objects.js';
import { TorchStorage } from './tensor.js';

/** PROTO 2, LONG1 of ten bytes, and the first of PyTorch's magic number. */
const BEGINNING = Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46]);
const MAGIC_NUMBER = 0x1950a86a20f9469cfc6cn;

/** Whether a file begins as torch.save wrote it before PyTorch 1.6. */
export function isLegacyTorch(file: RangedFile): boolean {
  return file.size >= BEGINNING.length && BEGINNING.equals(file.read(0, BEGINNING.length));
}

/**
 * What a file of torch.save before PyTorch 1.6 holds (published BERT weights are such files): four pickles (a magic
 * number, the protocol, sizes of the machine's types, the value), then the keys of the storages, then each storage
 * after its number of elements.
 *
 * @throws UserError where the file is damaged or its pickle asks for what no checkpoint needs
 */
export function readLegacyTorch(file: RangedFile): PickleValue {
  const source = file.path;
  const bytes = file.read(0, Math.min(file.size, MAX_PICKLE));
  const storages = new Map<string, TorchStorage>();
  const cursor = { at: 0, operations: 0 };
  const next = () =>
    unpickle(
      bytes,
      source,
      {
        construct: (callee, args) => construct(file, callee, args, source),
        load: (id) => {
          const { dtype, key, view } = parseStorageId(id, source);
          if (view !== null) {
            throw new UserError(
              `${source}: a storage is a view of another: save it with PyTorch 1.6 or newer to load it here`,
            );
          }
          const storage = storages.get(key) ?? new TorchStorage(dtype);
          if (storage.dtype !== dtype) {
            throw new UserError(`${source} is damaged: storage ${key} is ${dtype} and ${storage.dtype}`);
          }
          storages.set(key, storage);
          return storage;
        },
      },
      cursor,
    );
  const [magic, protocol] = [next(), next()];
  if (magic !== MAGIC_NUMBER || protocol !== 1001) {
    throw new UserError(`${source} is no file of torch.save, or of a protocol that is not known`);
  }
  const system = next();
  if (system instanceof Map && system.get('little_endian') === false) {
    throw new UserError(`${source} was written on a big-endian machine, which is not supported`);
  }
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw new UserError(`${source} is damaged: it has no list of storages`);
  locate(file, storages, keys, cursor.at);
  return value;
}

/** Walks over the storages, which follow one another from `position` on. */
function locate(
  file: RangedFile,
  storages: ReadonlyMap<string, TorchStorage>,
  keys: readonly PickleValue[],
  position: number,
): void {
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined || storage.offset !== -1) {
      throw new UserError(`${file.path} is damaged: its list of storages does not fit its tensors`);
    }
    const count = Number(Buffer.from(file.read(position, 8).buffer).readBigInt64LE());
    storage.offset = position + 8;
    storage.size = count * elementBytes[storage.dtype];
    position = storage.offset + storage.size;
    if (count < 0 || position > file.size) throw new UserError(`${file.path} is cut off within its tensors`);
  }
  for (const [key, { offset }] of storages) {
    if (offset === -1) throw new UserError(`${file.path} is damaged: storage ${key} is missing`);
  }
}
