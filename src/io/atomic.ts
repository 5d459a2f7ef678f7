import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes bytes or text at the end of the open temporary file. */
export type Append = (chunk: Uint8Array | string) => void;

/**
 * Writes a file so that a reader, also after a crash, sees either the old content or all of the new: into a
 * temporary sibling, flushed to disk, then renamed. When `write` throws, the sibling is removed and nothing changes.
 */
export function writeFileAtomic(path: string, write: (append: Append) => void): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = openSync(temporary, 'w');
  try {
    try {
      write((chunk) => {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        for (let offset = 0; offset < bytes.length; ) offset += writeSync(file, bytes, offset);
      });
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
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
