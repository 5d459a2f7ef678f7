import { readFileSync, statSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';
import type { ImageReader, StoredImage } from './dataset.js';

/** Far above any picture; a file that is no picture must not fill the memory. */
const MAX_BYTES = 256 << 20;

/** Pictures that are files of their own, by row. */
export class FileImages implements ImageReader {
  constructor(private readonly paths: readonly string[]) {}

  /** @throws UserError where the file can't be read */
  read(row: number): StoredImage {
    const name = this.paths[row];
    try {
      const { size } = statSync(name);
      if (size > MAX_BYTES) throw new Error(`${size} bytes are no picture`);
      return { bytes: readFileSync(name), name };
    } catch (error) {
      throw new UserError(`${name}: can't be read (${messageOf(error)})`);
    }
  }

  close(): void {}
}
