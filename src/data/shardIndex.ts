import { createHash } from 'node:crypto';
import { closeSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { messageOf } from '../errors.js';
import { openForReading } from '../io/readFile.js';
import { tarMembers } from '../io/tar.js';
import { Growing } from './growing.js';
import { readKept, requireUnchanged, rises, type Version, versionOf, writeKept } from './keptIndex.js';
import { type KeyTable, KeyTableBuilder } from './keyTable.js';

/** The members of a tar archive: their names, and where their bytes lie. */
export interface ShardIndex {
  names: KeyTable;
  offsets: Float64Array;
  sizes: Float64Array;
}

const SUFFIX = '.cnclip-index';
const MAGIC = 'CNCLIPTX';
const FORMAT = 1;

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
    requireUnchanged(file, path, version);
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

function writeIndex(path: string, { names, offsets, sizes }: ShardIndex, { size, modified }: Version): void {
  const numbers = [FORMAT, size, modified, offsets.length, names.keys.length];
  writeKept(path, MAGIC, numbers, [offsets, sizes, names.keyEnds, names.keys]);
}

/** The stored index, or undefined where there is none that fits: it is then built anew. */
function readIndex(path: string, { size, modified }: Version): ShardIndex | undefined {
  const stored = readKept(path, MAGIC, 5, (numbers, bytes) => {
    const [format, indexedSize, indexedModified, count, nameBytes] = numbers;
    const fits =
      format === FORMAT &&
      indexedSize === size &&
      indexedModified === modified &&
      Number.isSafeInteger(count) &&
      Number.isSafeInteger(nameBytes) &&
      Math.min(count, nameBytes) >= 0 &&
      bytes === count * 24 + nameBytes;
    if (!fits) return undefined;
    const floats = () => new Float64Array(count);
    return [floats(), floats(), floats(), new Uint8Array(nameBytes)] as const;
  });
  if (stored === undefined) return undefined;
  const [offsets, sizes, keyEnds, keys] = stored;
  // A damaged index must not read outside of the archive.
  const areInside = offsets.every((offset, i) => offset >= 0 && sizes[i] >= 0 && offset + sizes[i] <= size);
  const end = keyEnds.length === 0 ? 0 : keyEnds[keyEnds.length - 1];
  const isWhole = rises(keyEnds, keys.length) && end === keys.length;
  return areInside && isWhole ? { names: { keys, keyEnds }, offsets, sizes } : undefined;
}
