import { UserError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic.js';
import { bytesOf } from '../../io/readFile.js';
import type { TensorData, WritableTensor } from '../../io/safetensors.js';
import { sizeOf } from '../../shape.js';
import { PickleGlobal } from './pickle.js';
import { PersistentId, type Picklable, PickleCall, pickle } from './writePickle.js';
import { type NewMember, writeZip } from './writeZip.js';

export interface TorchCheckpoint {
  /** by the reference's names, without `module.` */
  weights: ReadonlyMap<string, WritableTensor>;
  /** epochs trained */
  epoch: number;
  /** steps trained */
  step: number;
  /** name of the experiment */
  name: string;
}

/** The folder that all members of the archive are in. PyTorch reads any name. */
const FOLDER = 'archive';

const orderedDict = new PickleGlobal('collections.OrderedDict');
const rebuildTensor = new PickleGlobal('torch._utils._rebuild_tensor_v2');

/**
 * Writes a checkpoint that the reference loads with torch.load (PyTorch 1.6 or newer): `{epoch, step, name,
 * state_dict}`, with `module.` before each name as its training scripts expect, and no optimizer. Each tensor has a
 * storage of its own, in row-major order, with the dtype of its array. The file appears whole or not at all, and
 * tensors are written from where they lie in memory. The same input gives the same bytes.
 *
 * @throws UserError for a tensor whose dtype or length does not fit
 */
export function writeTorchCheckpoint(path: string, { weights, epoch, step, name }: TorchCheckpoint): void {
  const stateDict = new Map<string, Picklable>();
  const storages: NewMember[] = [];
  for (const [parameter, { shape, data }] of weights) {
    const where = `${path}: tensor '${parameter}'`;
    if (sizeOf(shape) !== data.length) {
      throw new UserError(`${where} has ${data.length} values, its shape [${shape}] says otherwise`);
    }
    const key = String(storages.length);
    const id = ['storage', storageClass(data, where), key, 'cpu', data.length];
    const hooks = new PickleCall(orderedDict, []);
    const args = [new PersistentId(id), 0, shape, rowMajorStrides(shape), false, hooks];
    stateDict.set(`module.${parameter}`, new PickleCall(rebuildTensor, args));
    storages.push({ name: `${FOLDER}/data/${key}`, data: bytesOf(data) });
  }
  const checkpoint = new Map<string, Picklable>([
    ['epoch', epoch],
    ['step', step],
    ['name', name],
    ['state_dict', new PickleCall(orderedDict, [], stateDict)],
  ]);
  const members = [
    { name: `${FOLDER}/data.pkl`, data: pickle(checkpoint) },
    { name: `${FOLDER}/byteorder`, data: Buffer.from('little') },
    ...storages,
    { name: `${FOLDER}/version`, data: Buffer.from('3\n') },
  ];
  writeFileAtomic(path, (append) => writeZip(append, members));
}

function storageClass(data: TensorData, where: string): PickleGlobal {
  if (data instanceof Float32Array) return new PickleGlobal('torch.FloatStorage');
  if (data instanceof Float64Array) return new PickleGlobal('torch.DoubleStorage');
  if (data instanceof BigInt64Array) return new PickleGlobal('torch.LongStorage');
  if (data instanceof Int32Array) return new PickleGlobal('torch.IntStorage');
  throw new UserError(
    `${where} has integers of 8 or 16 bits or booleans, which are not written to .pt files`,
  );
}

/** Elements from one index to the next, per axis. An axis of 0 counts as 1, as in PyTorch. */
function rowMajorStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape.toReversed()) {
    strides.unshift(stride);
    stride *= Math.max(1, size);
  }
  return strides;
}
