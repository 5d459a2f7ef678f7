import { closeSync, fstatSync, readSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic.js';
import { bytesOf, openForReading, readFully } from '../io/readFile.js';
import { Growing, shared } from './growing.js';

/**
 * Where the lines of a text file start, so that any line is read by its position. Of a keyed file (tsv) also each
 * line's key, its bytes before the first TAB: joining ids then needs no pass over the pictures.
 */
export interface LineIndex {
  lineCount: number;
  /** Byte offset of each line, then the file's size; shared memory, so that worker threads need no copy. */
  starts: Float64Array;
  /** All keys one after the other, and where each ends; empty unless keyed. */
  keys: Uint8Array;
  keyEnds: Float64Array;
}

/** What must not have changed since the index was built. */
interface Version {
  size: number;
  modified: number;
}

const SUFFIX = '.cnclip-index';
const MAGIC = 'CNCLIPIX';
const FORMAT = 1;
/** Magic, format and keyed as two u32; size, modified, lineCount and key bytes as four f64. Then the arrays. */
const HEADER_BYTES = 48;
const CHUNK_BYTES = 4 << 20;
const MAX_KEY_BYTES = 1024;
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
    const index = buildIndex(file, path, keyed);
    const { size, modified } = versionOf(file);
    if (size !== version.size || modified !== version.modified) {
      throw new UserError(`${path}: the file changed while it was indexed; try again when it is complete`);
    }
    try {
      writeIndex(path + SUFFIX, index, version, keyed);
    } catch (error) {
      warn(`${path + SUFFIX} can't be written (${messageOf(error)}): the next run will index the file again`);
    }
    return index;
  } finally {
    closeSync(file);
  }
}

function versionOf(file: number): Version {
  const { size, mtimeMs } = fstatSync(file);
  return { size, modified: mtimeMs };
}

function buildIndex(file: number, path: string, keyed: boolean): LineIndex {
  const starts = new Growing((length) => new Float64Array(length));
  const keys = new Growing((length) => new Uint8Array(length));
  const keyEnds = new Growing((length) => new Float64Array(length));
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
          for (let i = at; i < end; i++) keys.push(chunk[i]);
          keyEnds.push(keys.length);
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
  return {
    lineCount,
    starts: shared(starts.values()),
    keys: keys.values(),
    keyEnds: keyEnds.values(),
  };
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

function writeIndex(path: string, index: LineIndex, { size, modified }: Version, keyed: boolean): void {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 'latin1');
  header.writeUInt32LE(FORMAT, 8);
  header.writeUInt32LE(keyed ? 1 : 0, 12);
  header.writeDoubleLE(size, 16);
  header.writeDoubleLE(modified, 24);
  header.writeDoubleLE(index.lineCount, 32);
  header.writeDoubleLE(index.keys.length, 40);
  writeFileAtomic(path, (append) => {
    append(header);
    append(bytesOf(index.starts));
    append(bytesOf(index.keyEnds));
    append(index.keys);
  });
}

/** The stored index, or undefined where there is none that fits: it is then built anew. */
function readIndex(path: string, { size, modified }: Version, keyed: boolean): LineIndex | undefined {
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
    const lineCount = header.readDoubleLE(32);
    const keyBytes = header.readDoubleLE(40);
    const fits =
      header.toString('latin1', 0, 8) === MAGIC &&
      header.readUInt32LE(8) === FORMAT &&
      header.readUInt32LE(12) === (keyed ? 1 : 0) &&
      header.readDoubleLE(16) === size &&
      header.readDoubleLE(24) === modified &&
      Number.isSafeInteger(lineCount) &&
      lineCount >= 0 &&
      keyBytes >= 0 &&
      bytes === HEADER_BYTES + (lineCount + 1) * 8 + (keyed ? lineCount * 8 : 0) + keyBytes;
    if (!fits) return undefined;
    const starts = new Float64Array(new SharedArrayBuffer((lineCount + 1) * 8));
    const keyEnds = new Float64Array(keyed ? lineCount : 0);
    const keys = new Uint8Array(keyBytes);
    let position = HEADER_BYTES;
    for (const array of [starts, keyEnds, keys]) {
      readFully(file, position, bytesOf(array), path);
      position += array.byteLength;
    }
    return rises(starts, size) && rises(keyEnds, keyBytes) ? { lineCount, starts, keys, keyEnds } : undefined;
  } finally {
    closeSync(file);
  }
}

/** Whether offsets never fall and end at `end`: a damaged index must not read outside of the file. */
function rises(offsets: Float64Array, end: number): boolean {
  let last = 0;
  for (const offset of offsets) {
    if (!(offset >= last)) return false;
    last = offset;
  }
  return offsets.length === 0 || last === end;
}
