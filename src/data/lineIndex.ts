import { closeSync, readSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';
import { openForReading } from '../io/readFile.js';
import { Growing, shared } from './growing.js';
import { readKept, requireUnchanged, rises, type Version, versionOf, writeKept } from './keptIndex.js';
import { type KeyTable, KeyTableBuilder } from './keyTable.js';

/**
 * Where the lines of a text file start, so that any line is read by its position. Of a keyed file (tsv) also each
 * line's key, its bytes before the first TAB: joining ids then needs no pass over the pictures. Unless keyed, keys and keyEnds are empty.
 */
export interface LineIndex extends KeyTable {
  lineCount: number;
  /** Byte offset of each line, then the file's size; shared memory, so that worker threads need no copy. */
  starts: Float64Array;
  /** of the file when it was indexed */
  version: Version;
}

const SUFFIX = '.cnclip-index';
const MAGIC = 'CNCLIPIX';
const FORMAT = 2;
const CHUNK_BYTES = 4 << 20;
/** Ids are no longer. */
export const MAX_KEY_BYTES = 1024;
const TAB = 9;
const LINE_FEED = 10;

/**
 * The index of a file's lines: read from FILE.cnclip-index where that fits the file's size and time of change, else
 * built in one pass over the file and kept there. Lines end with a line feed; a last line without one counts.
 *
 * @param keyed whether each line is a key, a TAB and a value
 * @param warn told when the folder can't be written to, so that the next run builds the index again
 * @throws UserError where the file can't be read or changes meanwhile, or a keyed line has no key
 */
export function openLineIndex(path: string, keyed: boolean, warn: (message: string) => void): LineIndex {
  const file = openForReading(path);
  try {
    const version = versionOf(file);
    const stored = readIndex(path + SUFFIX, version, keyed);
    if (stored) return stored;
    const index = buildIndex(file, path, keyed, version);
    requireUnchanged(file, path, version);
    try {
      writeIndex(path + SUFFIX, index, keyed);
    } catch (error) {
      warn(`${path + SUFFIX} can't be written (${messageOf(error)}): the next run will index the file again`);
    }
    return index;
  } finally {
    closeSync(file);
  }
}

/** The index of a file's lines, without keys, built anew and not kept. @throws UserError where it can't be read */
export function indexLines(path: string): LineIndex {
  const file = openForReading(path);
  try {
    return buildIndex(file, path, false, versionOf(file));
  } finally {
    closeSync(file);
  }
}

function buildIndex(file: number, path: string, keyed: boolean, version: Version): LineIndex {
  const starts = new Growing((length) => new Float64Array(length));
  const keys = new KeyTableBuilder();
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let position = 0;
  let inLine = false;
  for (;;) {
    const length = readSync(file, chunk, 0, CHUNK_BYTES, position);
    if (length === 0) break;
    let at = 0;
    while (at < length) {
      if (!inLine) {
        // A key cut by the end of the chunk is read again, at the start of the next one.
        if (keyed && at > 0 && length - at <= MAX_KEY_BYTES && length === CHUNK_BYTES) break;
        starts.push(position + at);
        if (keyed) {
          const end = keyEnd(chunk, at, length, `${path}, line ${starts.length}`);
          keys.add(chunk.subarray(at, end));
        }
        inLine = true;
      }
      const lineEnd = chunk.subarray(0, length).indexOf(LINE_FEED, at);
      inLine = lineEnd === -1;
      at = inLine ? length : lineEnd + 1;
    }
    position += at;
  }
  const lineCount = starts.length;
  starts.push(position);
  return { ...keys.build(), lineCount, starts: shared(starts.values()), version };
}

/** Where the TAB after a key stands. */
function keyEnd(chunk: Uint8Array, start: number, length: number, where: string): number {
  const limit = Math.min(length, start + MAX_KEY_BYTES + 1);
  for (let i = start; i < limit && chunk[i] !== LINE_FEED; i++) {
    if (chunk[i] === TAB && i > start) return i;
  }
  throw new UserError(
    `${where}: no TAB after an id; expected "id TAB base64" (is the line truncated, or the id longer than ${MAX_KEY_BYTES} bytes?)`,
  );
}

/** What an index must agree with: form, size, time of change. */
function identity({ size, modified }: Version, keyed: boolean): number[] {
  return [FORMAT, keyed ? 1 : 0, size, modified];
}

function writeIndex(path: string, index: LineIndex, keyed: boolean): void {
  const { starts, keyEnds, keys, version } = index;
  const numbers = [...identity(version, keyed), index.lineCount, keys.length];
  writeKept(path, MAGIC, numbers, [starts, keyEnds, keys]);
}

/** The stored index, or undefined where there is none that fits: it is then built anew. */
function readIndex(path: string, version: Version, keyed: boolean): LineIndex | undefined {
  const wanted = identity(version, keyed);
  const arrays = readKept(path, MAGIC, wanted.length + 2, (numbers, bytes) => {
    const [lineCount, keyBytes] = numbers.subarray(wanted.length);
    const fits =
      wanted.every((number, i) => number === numbers[i]) &&
      Number.isSafeInteger(lineCount) &&
      lineCount >= 0 &&
      keyBytes >= 0 &&
      bytes === (lineCount + 1) * 8 + (keyed ? lineCount * 8 : 0) + keyBytes;
    if (!fits) return undefined;
    const starts = new Float64Array(new SharedArrayBuffer((lineCount + 1) * 8));
    return [starts, new Float64Array(keyed ? lineCount : 0), new Uint8Array(keyBytes)] as const;
  });
  if (arrays === undefined) return undefined;
  const [starts, keyEnds, keys] = arrays;
  // A damaged index must not read outside of the file.
  const isWhole =
    rises(starts, version.size) &&
    starts[starts.length - 1] === version.size &&
    rises(keyEnds, keys.length) &&
    (keyEnds.at(-1) ?? 0) === keys.length;
  return isWhole ? { lineCount: starts.length - 1, starts, keys, keyEnds, version } : undefined;
}
