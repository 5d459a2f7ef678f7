import { type Stats, statSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';

/** Whether a file is at this path, or a link to one. @throws UserError where that can't be told */
export function isFile(path: string): boolean {
  return statusOf(path)?.isFile() === true;
}

/** Whether a folder is at this path, or a link to one. @throws UserError where that can't be told */
export function isFolder(path: string): boolean {
  return statusOf(path)?.isDirectory() === true;
}

/** undefined where nothing is there. A folder that may not be entered, or a link that leads to itself, is an error. */
function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new UserError(`${path}: can't be looked at (${messageOf(error)})`);
  }
}
