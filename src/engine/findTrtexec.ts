import { existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { UserError } from '../errors.js';

/** Where NVIDIA's packages for Debian put it. */
const DEBIAN_FOLDER = '/usr/src/tensorrt/bin';

/**
 * The path of trtexec, TensorRT's program that builds engines: as it is given, in PATH, or where Debian's package has it.
 *
 * @throws UserError where it is not
 */
export function findTrtexec(given?: string): string {
  if (given !== undefined) {
    if (isFile(given)) return given;
    throw new UserError(`--trtexec ${given}: there is no such file`);
  }
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), DEBIAN_FOLDER];
  const found = folders.map((folder) => join(folder, 'trtexec')).find(isFile);
  if (found !== undefined) return found;
  throw new UserError(
    `trtexec, which builds engines, is neither in PATH nor in ${DEBIAN_FOLDER}: install TensorRT 10 (apt-get install ` +
      'tensorrt, from NVIDIA), or say with --trtexec where it is',
  );
}

/** False, too, where a folder of PATH may not be entered. */
function isFile(path: string): boolean {
  return existsSync(path) && statSync(path).isFile();
}
