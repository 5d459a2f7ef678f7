import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { UserError } from '../errors.js';
import { FileWriter } from './fileWriter.js';

/** Writes bytes of any number, or text, at the end of the open temporary file. */
export type Append = (chunk: Uint8Array | string) => void;

/**
 * Writes a file so that a reader, also after a crash, sees either the old content or all of the new: into a
 * temporary sibling, flushed to disk, then renamed. When `write` throws, the sibling is removed and nothing changes.
 */
export function writeFileAtomic(path: string, write: (append: Append) => void): void {
  const temporary = `${path}.${process.pid}.tmp`;
  // One of a killed process of the same number.
  rmSync(temporary, { force: true });
  const file = new FileWriter(temporary);
  try {
    try {
      write((chunk) => file.append(chunk));
      file.finish();
    } finally {
      file.close();
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/** Writes a file as `writeFileAtomic` does, from chunks that come in time, holding one at a time. */
export async function writeChunksAtomic(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      for await (const chunk of chunks) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/** Writes a file of text, with a line feed at its end, as `writeFileAtomic` does. */
export function writeText(path: string, text: string): void {
  writeFileAtomic(path, (append) => append(`${text}\n`));
}

/**
 * Writes a directory so that its name always holds all of it: `write` fills a temporary sibling, which is then
 * renamed. A directory of that name is replaced. When `write` throws, nothing changes.
 */
export function writeDirectoryAtomic(directory: string, write: (temporary: string) => void): void {
  const target = resolve(directory);
  const temporary = emptySibling(target);
  try {
    write(temporary);
    // Moved away before it is deleted: half of it must not be found under its name.
    const replaced = `${target}.replaced.${process.pid}.tmp`;
    if (existsSync(target)) renameSync(target, replaced);
    renameSync(temporary, target);
    syncDirectory(dirname(target));
    rmSync(replaced, { recursive: true, force: true });
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

const replacedName = /^(.+)\.replaced\.\d+\.tmp$/;

/**
 * Gives directories of a folder their names back that `writeDirectoryAtomic` had moved away when the process was killed,
 * before the new ones took their place.
 */
export function restoreReplaced(folder: string): void {
  for (const entry of readdirSync(folder)) {
    const name = replacedName.exec(entry)?.[1];
    if (name === undefined || existsSync(join(folder, name))) continue;
    renameSync(join(folder, entry), join(folder, name));
  }
}

/**
 * Makes a new directory that appears with all of its content, or not at all: `write` fills a temporary sibling, whose
 * files it flushes, which is then renamed.
 *
 * @throws UserError where something of that name exists
 */
export async function createDirectoryAtomic(
  directory: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  if (existsSync(directory)) throw new UserError(`${directory} exists already: name another folder`);
  const target = resolve(directory);
  const temporary = emptySibling(target);
  try {
    await write(temporary);
    renameSync(temporary, target);
    syncDirectory(dirname(target));
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

/**
 * A new directory beside another one, in place of what a killed process left there.
 *
 * @param directory resolved: of a path that ends in a slash the sibling would lie inside
 */
function emptySibling(directory: string): string {
  const sibling = `${directory}.${process.pid}.tmp`;
  rmSync(sibling, { recursive: true, force: true });
  mkdirSync(sibling, { recursive: true });
  return sibling;
}

/** Flushes a directory's entries, so that a rename survives a power cut (a no-op where the system can't). */
export function syncDirectory(path: string): void {
  try {
    const directory = openSync(path, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  } catch {
    // Windows refuses to open directories; its renames are journalled.
  }
}
