import { UserError } from '../../errors.js';
import { PickleObject } from '../../io/pickle.js';
import { allocate, type FilePlace, type RangedFile } from '../../io/readFile.js';
import { type Dtype, elementBytes, type LazyTensor } from '../../io/tensor.js';
import { sizeOf } from '../../shape.js';
import { readMember } from './zip.js';

/** Dtypes by the class that PyTorch names a storage of them by. */
export const storageDtypes: Readonly<Record<string, Dtype>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

/** A deflated storage is inflated for each of its tensors, so each must be at least this part of it. */
const MAX_INFLATED_SHARE = 16;

/** A stretch of a file that tensors are views of. */
export class TorchStorage extends PickleObject {
  constructor(
    readonly dtype: Dtype,
    /** where it begins in the file, and its bytes: -1 until it is known */
    public offset = -1,
    public size = -1,
    /** its bytes in the file, where it is deflated */
    readonly deflated?: number,
  ) {
    super();
  }
}

/** A tensor as a pickle describes it: a view of a storage, with offset and strides in elements. */
export class TorchTensor extends PickleObject implements LazyTensor {
  constructor(
    private readonly file: RangedFile,
    private readonly storage: TorchStorage,
    private readonly offset: number,
    readonly shape: number[],
    private readonly strides: number[],
  ) {
    super();
  }

  get dtype(): Dtype {
    return this.storage.dtype;
  }

  /** @throws UserError where the view reaches beyond its storage */
  check(where: string): void {
    const { shape, strides, offset } = this;
    const { size, deflated } = this.storage;
    const bytes = elementBytes[this.dtype];
    const count = sizeOf(shape);
    if (deflated !== undefined && count > 0 && MAX_INFLATED_SHARE * count * bytes < size) {
      throw new UserError(
        `${where}: it is a small part of a compressed storage: save the file again with torch.save`,
      );
    }
    const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis], offset);
    if (count > 0 && !(Number.isSafeInteger(last) && (last + 1) * bytes <= size)) {
      throw new UserError(
        `${where}: shape [${shape.slice(0, 8)}] reaches beyond its storage of ${size} bytes`,
      );
    }
  }

  get place(): FilePlace | undefined {
    const { shape, strides, offset, storage, file } = this;
    if (!isContiguous(shape, strides) || storage.deflated !== undefined) return undefined;
    this.check(file.path);
    return file.at(storage.offset + offset * elementBytes[storage.dtype]);
  }

  read(): Uint8Array<ArrayBuffer> {
    const { shape, strides, offset, storage } = this;
    this.check(this.file.path);
    const bytes = elementBytes[storage.dtype];
    const count = sizeOf(shape);
    if (count === 0) return new Uint8Array(0);
    const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis], 0);
    const begin = offset * bytes;
    const length = (last + 1) * bytes;
    const span =
      storage.deflated === undefined
        ? this.file.read(storage.offset + begin, length)
        : readMember(this.file, storage).slice(begin, begin + length);
    return isContiguous(shape, strides)
      ? span
      : gather(span, bytes, shape, strides, allocate(count * bytes, this.file.path));
  }
}

/** Copies the elements of a strided view into `packed`, in row-major order. */
function gather(
  bytes: Uint8Array,
  width: number,
  shape: readonly number[],
  strides: readonly number[],
  packed: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const index = shape.map(() => 0);
  for (let to = 0, from = 0; to < packed.length; to += width) {
    for (let byte = 0; byte < width; byte++) packed[to + byte] = bytes[from * width + byte];
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
