import { UserError } from '../../errors.js';
import { type PickleValue, unpickle } from '../../io/pickle.js';
import type { RangedFile } from '../../io/readFile.js';
import { construct, parseStorageId } from './objects.js';
import { TorchStorage } from './tensor.js';
import { readZipDirectory } from './zip.js';

/** That of a checkpoint of a thousand tensors with its optimizer has 0.5 MB. */
export const MAX_PICKLE = 8 * 2 ** 20;

/**
 * What a zip archive of torch.save (since PyTorch 1.6) or torch.jit.save holds: the value of its data.pkl, with
 * tensors that are read in place.
 *
 * @throws UserError where the archive is damaged or its pickle asks for what no checkpoint needs
 */
export function readTorchArchive(file: RangedFile): PickleValue {
  const { path } = file;
  const members = readZipDirectory(file);
  const name = [...members.keys()].find((member) => /^[^/]+\/data\.pkl$/.test(member));
  if (name === undefined) {
    throw new UserError(
      `${path} has no data.pkl, stored without compression: expected a file that torch.save or torch.jit.save wrote`,
    );
  }
  const { offset, size } = members.get(name)!;
  const source = `${path}, data.pkl`;
  if (size > MAX_PICKLE) throw new UserError(`${source} has ${size} bytes, more than any checkpoint needs`);
  const folder = name.slice(0, -'data.pkl'.length);
  const storages = new Map<string, TorchStorage>();
  return unpickle(file.read(offset, size), source, {
    construct: (callee, args) => construct(file, callee, args, source),
    load: (id) => {
      const { dtype, key } = parseStorageId(id, source);
      const known = storages.get(key);
      if (known?.dtype === dtype) return known;
      const member = members.get(`${folder}data/${key}`);
      if (member === undefined) {
        throw new UserError(`${source}: storage ${key} is missing from the archive`);
      }
      const storage = new TorchStorage(dtype, member.offset, member.size);
      storages.set(key, storage);
      return storage;
    },
  });
}
