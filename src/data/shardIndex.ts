import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { messageOf, UserError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic.js';
import { bytesOf, openForReading, readFully } from '../io/readFile.js';
import { tarMembers } from '../io/tar.js';
import { Growing } from './growing.js';
import { type KeyTable, KeyTableBuilder } from './keyTable.js';

/** The members of a tar archive: their names, and where their bytes lie. */
export interface ShardIndex {
  names: KeyTable;
  offsets: Float64Array;
  sizes: Float64Array;
}

/** What must not have changed since the index was built. */
interface Version {
  size: number;
  modified: number;
}

const SUFFIX = '.cnclip-index';
const MAGIC = 'CNCLIPTX';
const FORMAT = 1;
/** Magic, format as u32 and 0; size, modified, members and bytes of names as four f64. Then the arrays. */
const HEADER_BYTES = 48;

/**
 * The members of a tar archive: read from SHARD.cnclip-index where that fits the archive's size and time of change, else
 * found in one pass over its headers and kept there, or, where its folder can't be written to, in the user's cache.
 *
 * @param warn told where the index is kept if not beside the archive, or that it can't be kept
 * @throws UserError as tarMembers, and where the archive changes meanwhile
 */
export function openShardIndex(path: string, warn: (message: string) => void): ShardIndex {
  const file = openForReading(path);
  try {
    const version = versionOf(file);
    const places = [path + SUFFIX, cachePath(path)];
    for (const place of places) {
      const stored = readIndex(place, version);
      if (stored !== undefined) return stored;
    }
    const index = buildIndex(file, path);
    const { size, modified } = versionOf(file);
    if (size !== version.size || modified !== version.modified) {
      throw new UserError(`${path}: the file changed while it was indexed; try again when it is complete`);
    }
    keep(places, index, version, warn);
    return index;
  } finally {
    closeSync(file);
  }
}

function cachePath(path: string): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const name = createHash('sha256').update(resolve(path)).digest('hex');
  return join(cache, 'cn-clip', 'index', name + SUFFIX);
}

function keep(
  [beside, inCache]: string[],
  index: ShardIndex,
  version: Version,
  warn: (message: string) => void,
): void {
  try {
    writeIndex(beside, index, version);
  } catch (error) {
    const reason = `${beside} can't be written (${messageOf(error)})`;
    try {
      mkdirSync(dirname(inCache), { recursive: true });
      writeIndex(inCache, index, version);
      warn(`${reason}: the index is kept as ${inCache}`);
    } catch {
      warn(`${reason}: the next run will index the archive again`);
    }
  }
}

function versionOf(file: number): Version {
  const { size, mtimeMs } = fstatSync(file);
  return { size, modified: mtimeMs };
}

function buildIndex(file: number, path: string): ShardIndex {
  const names = new KeyTableBuilder();
  const offsets = new Growing((length) => new Float64Array(length));
  const sizes = new Growing((length) => new Float64Array(length));
  for (const { name, offset, size } of tarMembers(file, path)) {
    names.add(name);
    offsets.push(offset);
    sizes.push(size);
  }
  return { names: names.build(), offsets: offsets.values(), sizes: sizes.values() };
}

function writeIndex(path: string, { names, offsets, sizes }: ShardIndex, version: Version): void {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 'latin1');
  header.writeUInt32LE(FORMAT, 8);
  header.writeDoubleLE(version.size, 16);
  header.writeDoubleLE(version.modified, 24);
  header.writeDoubleLE(offsets.length, 32);
  header.writeDoubleLE(names.keys.length, 40);
  writeFileAtomic(path, (append) => {
    append(header);
    for (const array of [offsets, sizes, names.keyEnds, names.keys]) append(bytesOf(array));
  });
}

/** The stored index, or undefined where there is none that fits: it is then built anew. */
function readIndex(path: string, { size, modified }: Version): ShardIndex | undefined {
  let file: number;
  try {
    file = openForReading(path);
  } catch {
    return undefined;
  }
  try {
    const bytes = fstatSync(file).size;
    if (bytes < HEADER_BYTES) return undefined;
    const header = Buffer.alloc(HEADER_BYTES);
    readFully(file, 0, header, path);
    const count = header.readDoubleLE(32);
    const nameBytes = header.readDoubleLE(40);
    const fits =
      header.toString('latin1', 0, 8) === MAGIC &&
      header.readUInt32LE(8) === FORMAT &&
      header.readDoubleLE(16) === size &&
      header.readDoubleLE(24) === modified &&
      Number.isSafeInteger(count) &&
      Number.isSafeInteger(nameBytes) &&
      Math.min(count, nameBytes) >= 0 &&
      bytes === HEADER_BYTES + count * 24 + nameBytes;
    if (!fits) return undefined;
    const [offsets, sizes, keyEnds] = Array.from({ length: 3 }, () => new Float64Array(count));
    const keys = new Uint8Array(nameBytes);
    let position = HEADER_BYTES;
    for (const array of [offsets, sizes, keyEnds, keys]) {
      readFully(file, position, bytesOf(array), path);
      position += array.byteLength;
    }
    // A damaged index must not read outside of the archive.
    const areInside = offsets.every((offset, i) => offset >= 0 && sizes[i] >= 0 && offset + sizes[i] <= size);
    const rise = keyEnds.every((end, i) => end >= (i === 0 ? 0 : keyEnds[i - 1]));
    const end = count === 0 ? 0 : keyEnds[count - 1];
    return areInside && rise && end === nameBytes ? { names: { keys, keyEnds }, offsets, sizes } : undefined;
  } finally {
    closeSync(file);
  }
}
