import { UserError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic.js';
import { PickleGlobal } from '../../io/pickle.js';
import { byteLengthOf, elementBytes, type LazyTensor, type LazyTensors, tensorOf } from '../../io/tensor.js';
import { Float, PersistentId, type Picklable, PickleCall, pickle } from '../../io/writePickle.js';
import { sizeOf } from '../../shape.js';
import type { OptimizerState, TrainingState } from '../trainingState.js';
import { optimizerOrder } from './optimizer.js';
import { storageDtypes } from './tensor.js';
import { type NewMember, writeZip } from './writeZip.js';

/** The folder that all members of the archive are in. PyTorch reads any name. */
const FOLDER = 'archive';

const orderedDict = new PickleGlobal('collections.OrderedDict');
const rebuildTensor = new PickleGlobal('torch._utils._rebuild_tensor_v2');
const storageClasses = new Map(Object.entries(storageDtypes).map(([name, dtype]) => [dtype, name]));

/**
 * Writes a checkpoint that the reference loads with torch.load (PyTorch 1.6 or newer): `{epoch, step, name,
 * state_dict, optimizer}`, with `module.` before each name as its training scripts expect. Each tensor has a storage
 * of its own, in row-major order, with its dtype. The file appears whole or not at all, and tensors are read one by
 * one while it is written. The same input gives the same bytes.
 *
 * @param weights by the reference's names, without `module.`
 */
export function writeTorchCheckpoint(path: string, weights: LazyTensors, training: TrainingState): void {
  const archive = new TensorArchive();
  const stateDict = new Map<string, Picklable>();
  for (const [name, tensor] of weights) stateDict.set(`module.${name}`, archive.add(tensor));
  const { epoch, step, name, optimizer } = training;
  const checkpoint = new Map<string, Picklable>([
    ['epoch', epoch],
    ['step', step],
    ['name', name],
    ['state_dict', new PickleCall(orderedDict, [], stateDict)],
  ]);
  if (optimizer !== undefined) {
    checkpoint.set('optimizer', optimizerState(optimizer, [...weights.keys()], archive));
  }
  const text = (name: string, data: Buffer): NewMember => ({
    name: `${FOLDER}/${name}`,
    read: () => data,
  });
  const members = [
    text('data.pkl', pickle(checkpoint)),
    text('byteorder', Buffer.from('little')),
    ...archive.storages,
    text('version', Buffer.from('3\n')),
  ];
  writeFileAtomic(path, (append) => writeZip(append, members));
}

/** The storages of an archive, numbered as they are added. */
class TensorArchive {
  readonly storages: NewMember[] = [];

  /** What the pickle says of a tensor. */
  add(tensor: LazyTensor): PickleCall {
    const { shape, dtype } = tensor;
    const key = String(this.storages.length);
    const id = ['storage', new PickleGlobal(storageClasses.get(dtype)!), key, 'cpu', sizeOf(shape)];
    this.storages.push({ name: `${FOLDER}/data/${key}`, read: () => readWhole(tensor) });
    const hooks = new PickleCall(orderedDict, []);
    return new PickleCall(rebuildTensor, [
      new PersistentId(id),
      0,
      shape,
      rowMajorStrides(shape),
      false,
      hooks,
    ]);
  }
}

/**
 * The state_dict of torch.optim.AdamW with the reference's two groups. It numbers parameters: first those that are
 * not decayed.
 */
function optimizerState(
  { moments, step, ...factors }: OptimizerState,
  names: readonly string[],
  archive: TensorArchive,
): Picklable {
  const order = optimizerOrder(names.filter((name) => moments.has(name)));
  const state = new Map<number, Picklable>();
  for (const [number, name] of order.flat().entries()) {
    const { first, second } = moments.get(name)!;
    const entry = new Map<string, Picklable>([
      ['step', archive.add(tensorOf([], Float32Array.of(step)))],
      ['exp_avg', archive.add(first)],
      ['exp_avg_sq', archive.add(second)],
    ]);
    state.set(number, entry);
  }
  const [notDecayed] = order;
  const groups = order.map((group, i): Picklable => {
    const begin = i === 0 ? 0 : notDecayed.length;
    return new Map<string, Picklable>([
      ['lr', new Float(factors.learningRate)],
      ['betas', [new Float(factors.beta1), new Float(factors.beta2)]],
      ['eps', new Float(factors.epsilon)],
      ['weight_decay', new Float(i === 0 ? 0 : factors.weightDecay)],
      ['amsgrad', false],
      ['maximize', false],
      ['foreach', null],
      ['capturable', false],
      ['params', { list: group.map((_, k) => begin + k) }],
    ]);
  });
  return new Map<string, Picklable>([
    ['state', state],
    ['param_groups', { list: groups }],
  ]);
}

/** @throws UserError where a tensor has another size than its shape says: the archive would be damaged */
function readWhole(tensor: LazyTensor): Uint8Array {
  const bytes = tensor.read();
  const { shape, dtype } = tensor;
  if (bytes.length === byteLengthOf(tensor)) return bytes;
  throw new UserError(
    `a tensor has ${bytes.length / elementBytes[dtype]} values, its shape [${shape}] says otherwise`,
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
