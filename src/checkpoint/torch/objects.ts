import { UserError } from '../../errors.js';
import { PickleGlobal, PickleInstance, type PickleValue } from '../../io/pickle.js';
import type { RangedFile } from '../../io/readFile.js';
import { isCount, isShape } from '../../shape.js';
import { storageDtypes, TorchStorage, TorchTensor } from './tensor.js';

/** Classes of data that training scripts save beside the weights. What they hold is not looked at. */
const DATA_CLASSES: ReadonlySet<string> = new Set([
  'argparse.Namespace',
  'torch.device',
  'numpy.dtype',
  'numpy.core.multiarray._reconstruct',
  'numpy._core.multiarray._reconstruct',
  ...['set', 'frozenset', 'list', 'complex', 'slice', 'bytearray'].flatMap((name) => [
    `__builtin__.${name}`,
    `builtins.${name}`,
  ]),
]);

/** Keys of storages are short numbers. */
const MAX_KEY_LENGTH = 100;

/**
 * Stands for the few calls that a checkpoint makes. Nothing is executed: tensors become views of the file, modules of
 * TorchScript and other known classes plain data, and everything else is refused by name.
 *
 * @throws UserError naming the class or function that no checkpoint needs
 */
export function construct(
  file: RangedFile,
  callee: string,
  args: PickleValue[],
  source: string,
): PickleValue {
  switch (callee) {
    case 'collections.OrderedDict':
      return dictionaryOf(args[0]);
    case 'collections.defaultdict':
      return new Map();
    // A learning rate that a schedule has computed is one of numpy's numbers.
    case 'numpy.core.multiarray.scalar':
    case 'numpy._core.multiarray.scalar':
      return numpyScalar(args[0], args[1]);
    // Protocol 2 has no bytes: they are written as text. Those of a number are all that is looked at.
    case '_codecs.encode':
      return typeof args[0] === 'string' && args[0].length <= 8 ? Buffer.from(args[0], 'latin1') : null;
    case 'torch._utils._rebuild_parameter':
    case 'torch.Size':
      return args[0] ?? null;
    case 'torch._utils._rebuild_tensor':
    case 'torch._utils._rebuild_tensor_v2': {
      const [storage, offset, shape, strides] = args;
      if (storage instanceof TorchStorage && isCount(offset) && isShape(shape) && isStrides(strides)) {
        // Copied, since the pickle can still change its lists.
        if (shape.length === strides.length) {
          return new TorchTensor(file, storage, offset, [...shape], [...strides]);
        }
      }
      throw new UserError(`${source}: a tensor is described wrongly`);
    }
    default:
      if (DATA_CLASSES.has(callee) || callee.startsWith('__torch__.')) {
        return new PickleInstance(callee, args);
      }
      throw new UserError(
        `${source} asks for ${callee}, which no checkpoint needs: it is not loaded. ` +
          'A checkpoint is saved as a state_dict of tensors',
      );
  }
}

/**
 * The dtype and key of a storage that a persistent id names: ('storage', class, key, device, elements).
 *
 * @throws UserError for an id of another form, or a class that is not known
 */
export function parseStorageId(
  id: PickleValue,
  source: string,
): { dtype: TorchStorage['dtype']; key: string; view: PickleValue } {
  const [tag, type, key, , , view = null] = Array.isArray(id) ? id : [];
  if (tag !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string') {
    const found =
      (Array.isArray(id) ? id : [id]).find((part) => part instanceof PickleGlobal)?.name ?? 'something';
    throw new UserError(`${source}: a reference to ${found} that is no tensor storage`);
  }
  if (key.length > MAX_KEY_LENGTH)
    throw new UserError(`${source}: a storage's key has ${key.length} characters`);
  const dtype = Object.hasOwn(storageDtypes, type.name) ? storageDtypes[type.name] : undefined;
  if (dtype === undefined) {
    throw new UserError(`${source}: tensors of type ${type.name} are not supported`);
  }
  return { dtype, key, view };
}

/** A number of numpy's, from its dtype and bytes; null for what is none. */
function numpyScalar(dtype: PickleValue, bytes: PickleValue): PickleValue {
  if (!(dtype instanceof PickleInstance) || !(bytes instanceof Uint8Array)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [kind] = dtype.args;
  if (kind === 'f8' && bytes.length === 8) return view.getFloat64(0, true);
  if (kind === 'f4' && bytes.length === 4) return view.getFloat32(0, true);
  if (kind === 'i8' && bytes.length === 8) return Number(view.getBigInt64(0, true));
  if (kind === 'i4' && bytes.length === 4) return view.getInt32(0, true);
  return null;
}

/** An OrderedDict may be given its entries as a list of pairs. */
function dictionaryOf(entries: PickleValue | undefined): PickleValue {
  if (!Array.isArray(entries)) return new Map();
  return new Map(entries.filter(isPair));
}

function isPair(value: PickleValue): value is [PickleValue, PickleValue] {
  return Array.isArray(value) && value.length === 2;
}

function isStrides(value: PickleValue): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}
