import { UserError } from '../../errors.js';
import { PickleInstance, type PickleValue } from '../../io/pickle.js';
import { RangedFile } from '../../io/readFile.js';
import { byteLengthOf, type LazyTensor, MAX_NAME_LENGTH } from '../../io/tensor.js';
import type { TrainingState } from '../trainingState.js';
import { readTorchArchive } from './archive.js';
import { isLegacyTorch, readLegacyTorch } from './legacy.js';
import { readTrainingState } from './optimizer.js';
import { TorchTensor } from './tensor.js';
import { isZip } from './zip.js';

/** Modules of TorchScript nested deeper are no model. */
const MAX_DEPTH = 50;
/** Entries of dictionaries and modules that are looked at. The largest official model has 800 tensors. */
const MAX_ENTRIES = 50_000;
/** Tensors may share a storage or repeat it, but a small file must not stand for an endless amount of values. */
const MAX_SHARING = 16;

/** Whether a file begins as torch.save or torch.jit.save write it. */
export function isTorchFile(path: string): boolean {
  const file = new RangedFile(path);
  return isZip(file) || isLegacyTorch(file);
}

/**
 * The tensors of a PyTorch file: those of its `state_dict` entry, or of the whole dictionary where it has none, with
 * the `module.` of data parallelism taken off the names; or the parameters and buffers of a TorchScript module (as
 * OpenAI publishes CLIP), by their path in it. Nothing in the file is executed, and tensors are read one by one from
 * their place when they are asked for.
 *
 * @returns also where training stood, if the file says so: {epoch, step, name, optimizer} as the reference saves it
 * @throws UserError where the file is damaged, asks for a class that no checkpoint needs, or holds no tensors
 */
export function openTorchFile(path: string): {
  tensors: Map<string, LazyTensor>;
  training: TrainingState | undefined;
} {
  const file = new RangedFile(path);
  const root = isZip(file) ? readTorchArchive(file) : readLegacyTorch(file);
  const stateDict = root instanceof Map ? root.get('state_dict') : undefined;
  const found = collect(stateDict instanceof Map ? stateDict : root, path);
  if (found.size === 0) throw new UserError(`${path} holds no tensors by name, so it is no checkpoint`);
  const tensors = new Map<string, LazyTensor>();
  let total = 0;
  for (const [name, tensor] of found) {
    const plain = name.replace(/^module\./, '');
    if (tensors.has(plain))
      throw new UserError(`${path} holds tensor ${plain} twice, with and without 'module.'`);
    tensor.check(`${path}, tensor ${name}`);
    total += byteLengthOf(tensor);
    tensors.set(plain, tensor);
  }
  if (!(total <= MAX_SHARING * file.size)) {
    throw new UserError(`${path}: its tensors have ${total} bytes, the file only ${file.size}`);
  }
  const training =
    root instanceof Map && stateDict instanceof Map ? readTrainingState(root, tensors, path) : undefined;
  return { tensors, training };
}

/** Tensors of a dictionary, or of a module with its submodules, which may occur more than once. */
function collect(root: PickleValue, path: string): Map<string, TorchTensor> {
  const found = new Map<string, TorchTensor>();
  let looked = 0;
  const visit = (from: PickleValue, prefix: string, depth: number): void => {
    const isModule = from instanceof PickleInstance;
    const entries = isModule ? from.attributes : from;
    if (!(entries instanceof Map)) return;
    if (depth > MAX_DEPTH) throw new UserError(`${path}: its modules are nested more than ${MAX_DEPTH} deep`);
    for (const [name, value] of entries) {
      if (++looked > MAX_ENTRIES) throw new UserError(`${path} has more than ${MAX_ENTRIES} entries`);
      const isTensor = value instanceof TorchTensor;
      if (typeof name !== 'string' || !(isTensor || (isModule && value instanceof PickleInstance))) continue;
      if (prefix.length + name.length > MAX_NAME_LENGTH) {
        throw new UserError(`${path}: the name of a tensor has more than ${MAX_NAME_LENGTH} characters`);
      }
      if (isTensor) found.set(prefix + name, value);
      else visit(value, `${prefix}${name}.`, depth + 1);
    }
  };
  visit(root, '', 0);
  return found;
}
