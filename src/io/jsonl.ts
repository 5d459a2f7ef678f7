import { closeSync, openSync, readSync } from 'node:fs';
import { messageOf, UserError } from '../errors.js';
import { isRecord, shown } from './json.js';

/** One line of a JSON Lines file. `where` names file and line, for error messages. */
export interface JsonLine {
  value: Record<string, unknown>;
  where: string;
}

const CHUNK_BYTES = 1 << 20;
/** No honest line is longer; a file without line breaks must not fill the memory. */
const MAX_LINE_BYTES = 64 << 20;

/**
 * Reads a JSON Lines file (UTF-8, one object a line) line by line, holding one line at a time.
 *
 * @throws UserError with file and line where the file can't be read, or a line is empty, longer than 64 MiB, not
 * UTF-8 or not a JSON object
 */
export function* readJsonLines(path: string): Generator<JsonLine> {
  let number = 0;
  for (const bytes of readLines(path)) {
    number++;
    const where = `${path}, line ${number}`;
    yield { value: parseObjectLine(bytes, where), where };
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * The object that a line of JSON Lines is.
 *
 * @param bytes the line without its end
 * @param where file and line, for error messages
 * @throws UserError where the line is empty, not UTF-8 or not a JSON object
 */
export function parseObjectLine(bytes: Uint8Array, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (error) {
    const found = bytes.length === 0 ? 'the line is empty' : messageOf(error);
    throw new UserError(`${where}: expected one JSON object (${found})`);
  }
  if (isRecord(value)) return value;
  throw new UserError(`${where}: expected one JSON object, found ${shown(value)}`);
}

/** The file's lines without their line feeds; a last line without one counts. */
function* readLines(path: string): Generator<Buffer> {
  const file = openForReading(path);
  try {
    let parts: Buffer[] = [];
    let partBytes = 0;
    let lines = 0;
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const length = readChunk(file, chunk, path);
      if (length === 0) break;
      let start = 0;
      for (;;) {
        const end = chunk.subarray(0, length).indexOf(0x0a, start);
        const part = chunk.subarray(start, end === -1 ? length : end);
        parts.push(part);
        partBytes += part.length;
        if (partBytes > MAX_LINE_BYTES) {
          throw new UserError(`${path}, line ${lines + 1}: longer than ${MAX_LINE_BYTES >> 20} MiB`);
        }
        if (end === -1) break;
        yield Buffer.concat(parts);
        lines++;
        parts = [];
        partBytes = 0;
        start = end + 1;
      }
    }
    if (partBytes > 0) yield Buffer.concat(parts);
  } finally {
    closeSync(file);
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new UserError(`${path}: can't be opened (${messageOf(error)})`);
  }
}

function readChunk(file: number, chunk: Buffer, path: string): number {
  try {
    return readSync(file, chunk);
  } catch (error) {
    throw new UserError(`${path}: can't be read (${messageOf(error)})`);
  }
}
