import { closeSync, fstatSync } from 'node:fs';
import { parse, relative, resolve } from 'node:path';
import { openForReading } from '../io/readFile.js';
import type { ImageReader, ImageSource, StoredImage } from './dataset.js';
import { resolveInside } from './insidePath.js';
import { KeyTableBuilder, keyOf } from './keyTable.js';
import { readPicture } from './pictureBytes.js';

export type FileImageSource = Extract<ImageSource, { kind: 'files' }>;

/** Files of a folder as an image source, a row each, by their paths in it. One that leads out of it can't be read. */
export function filesOf(root: string, names: Iterable<string>): FileImageSource {
  const table = new KeyTableBuilder();
  for (const name of names) table.add(name);
  return { kind: 'files', root, names: table.build() };
}

/** Files that the user named, by paths from a folder: links, and paths that lead out of it, are followed anywhere. */
export function filesAnywhere(folder: string, paths: readonly string[]): FileImageSource {
  const { root } = parse(resolve(folder));
  return filesOf(
    root,
    paths.map((path) => relative(root, resolve(folder, path))),
  );
}

/** Pictures that are files of a folder, named by their path in it. */
export class FileImages implements ImageReader {
  constructor(private readonly source: FileImageSource) {}

  /** @throws UserError where the file is missing, no file, leads out of the folder, or is larger than is read */
  read(row: number): StoredImage {
    const { root, names } = this.source;
    const path = resolveInside(root, keyOf(names, row));
    const file = openForReading(path);
    try {
      return { bytes: readPicture(file, 0, fstatSync(file).size, path), name: path };
    } finally {
      closeSync(file);
    }
  }

  close(): void {}
}
