import { type Dirent, readdirSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';

/** What is in a folder of a dataset, in no order. @throws UserError where it can't be read */
export function readFolder(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    throw new UserError(`${path}: the dataset's folder can't be read (${messageOf(error)})`);
  }
}

/** The names alone. Throws as `readFolder` does. */
export function namesIn(path: string): string[] {
  return readFolder(path).map(({ name }) => name);
}
