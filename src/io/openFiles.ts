import { closeSync } from 'node:fs';
import { openForReading } from './readFile.js';

/** Far below what systems let a process open. */
const MAX_OPEN = 64;

/** Descriptors of many files, of which those lately used are kept open. */
export class OpenFiles {
  readonly #open = new Map<string, number>();

  /** @throws UserError where the file can't be opened */
  get(path: string): number {
    let file = this.#open.get(path);
    if (file === undefined) {
      file = openForReading(path);
      const [oldest] = this.#open;
      if (this.#open.size === MAX_OPEN) this.#close(...oldest);
    } else this.#open.delete(path);
    this.#open.set(path, file);
    return file;
  }

  close(): void {
    for (const each of this.#open) this.#close(...each);
  }

  #close(path: string, file: number): void {
    closeSync(file);
    this.#open.delete(path);
  }
}
