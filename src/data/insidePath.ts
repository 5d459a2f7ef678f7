import { realpathSync } from 'node:fs';
import { isAbsolute, join, sep } from 'node:path';
import { messageOf, UserError } from '../errors.js';

/** Longer than what file systems take. */
const MAX_NAME_LENGTH = 4096;

/**
 * The path of a file that a dataset names, which must lie inside of the dataset's folder: what it names may be anything,
 * and what is read may be shown.
 *
 * @param name path in the folder; / divides it
 * @throws UserError where it is absolute, climbs with .., leads out through a symbolic link, or is not there
 */
export function resolveInside(root: string, name: string): string {
  requirePlainName(root, name);
  const shown = JSON.stringify(name.slice(0, 200));
  let path: string;
  let folder: string;
  try {
    folder = realpathSync(root);
    path = realpathSync(join(root, name));
  } catch (error) {
    throw new UserError(`${root}: picture ${shown} can't be found (${messageOf(error)})`);
  }
  if (!path.startsWith(folder.endsWith(sep) ? folder : folder + sep)) {
    throw new UserError(`${root}: picture ${shown} is a link that leads out of the folder`);
  }
  return path;
}

/** @throws UserError where a name can't be that of a file inside of a folder, whatever is there */
export function requirePlainName(root: string, name: string): void {
  const isPlain =
    name !== '' &&
    name.length <= MAX_NAME_LENGTH &&
    !name.includes('\0') &&
    !isAbsolute(name) &&
    !name.split(/[/\\]/).includes('..');
  if (isPlain) return;
  const shown = JSON.stringify(name.slice(0, 200));
  throw new UserError(`${root}: picture ${shown}: expected a path inside of the folder, without ..`);
}
