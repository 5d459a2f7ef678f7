import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../errors.js';
import { syncDirectory, writeFileAtomic } from '../io/atomic.js';
import { type ListedFile, measureFile } from './exportedFiles.js';

/** Exports to one folder share the vocabulary, say; what is larger than any is a graph or its weights. */
const SHARED_MAX_BYTES = 64 << 20;

/**
 * The files of an export on their way: they are written into a temporary folder beside their final places, and all
 * moved there when all of them are good.
 */
export class Staging {
  /** for the manifest */
  readonly files: ListedFile[] = [];
  private readonly folder: string;
  private readonly temporary: string;

  /** @param out folder and beginning of the name of what is exported. @throws UserError if it ends in a folder */
  constructor(
    out: string,
    private readonly overwrite: boolean,
  ) {
    if (/[\\/]$/.test(out) || ['', '.', '..'].includes(basename(out))) {
      throw new UserError(
        `'${out}' names a folder: give the beginning of the files' names, such as ${join(out, 'model')}`,
      );
    }
    this.folder = dirname(out);
    this.temporary = join(this.folder, `.${basename(out)}.${process.pid}.tmp`);
    mkdirSync(this.folder, { recursive: true });
    rmSync(this.temporary, { recursive: true, force: true });
    mkdirSync(this.temporary);
  }

  /** What is to be published: files, and the folders of others. */
  get names(): string[] {
    return readdirSync(this.temporary);
  }

  /** Where a file lies until it is published. */
  path(name: string): string {
    return join(this.temporary, name);
  }

  /** Writes a file, piece by piece. */
  write(name: string, pieces: Iterable<Uint8Array>): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    const hash = createHash('sha256');
    let bytes = 0;
    writeFileAtomic(this.path(name), (append) => {
      for (const piece of pieces) {
        append(piece);
        hash.update(piece);
        bytes += piece.length;
      }
    });
    this.files.push({ name, bytes, sha256: hash.digest('hex') });
  }

  writeText(name: string, text: string): void {
    this.write(name, [Buffer.from(`${text}\n`)]);
  }

  writeJson(name: string, content: object): void {
    this.writeText(name, JSON.stringify(content, null, 1));
  }

  /** Takes note of a file that something else wrote. */
  add(name: string): void {
    this.files.push({ name, ...measureFile(this.path(name)) });
  }

  /** Removes a file again. */
  remove(name: string): void {
    rmSync(this.path(name));
    this.files.splice(
      this.files.findIndex((file) => file.name === name),
      1,
    );
  }

  /** @throws UserError if a file of that name is there, and must be kept because it is not the same */
  requireFree(name: string): void {
    const path = join(this.folder, name);
    if (this.overwrite || !existsSync(path)) return;
    const [staged, status] = [this.path(name), statSync(path)];
    const isSmallFile = status.isFile() && status.size <= SHARED_MAX_BYTES;
    if (isSmallFile && existsSync(staged) && readFileSync(path).equals(readFileSync(staged))) return;
    throw new UserError(`${path} exists already: give another --out, or --overwrite true`);
  }

  /**
   * Moves everything to its place, the given file last: it tells that the others are there.
   *
   * @returns the paths of all files
   * @throws UserError as requireFree, with nothing moved
   */
  publish(last: string): string[] {
    const names = this.names.filter((name) => name !== last);
    for (const name of [...names, last]) this.requireFree(name);
    for (const name of [...names, last]) {
      const target = join(this.folder, name);
      // Another folder can't be renamed onto one.
      if (existsSync(target) && statSync(target).isDirectory()) {
        renameSync(target, join(this.temporary, `replaced.${name}`));
      }
      renameSync(this.path(name), target);
    }
    syncDirectory(this.folder);
    this.discard();
    return this.files.map(({ name }) => join(this.folder, name));
  }

  /** Removes what was written and not published. */
  discard(): void {
    rmSync(this.temporary, { recursive: true, force: true });
  }
}
