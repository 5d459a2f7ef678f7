import { messageOf, UserError } from '../errors.js';
import { RangedFile } from './readFile.js';

/** Values of the files that are read here are nested a few levels deep. */
const MAX_DEPTH = 64;
/** Far above any config or state; a value in memory takes some thirty times its text. */
const MAX_BYTES = 1 << 20;

/**
 * Parses JSON (UTF-8) of a file that nobody vouches for.
 *
 * @throws SyntaxError for what is no JSON, or nested deeper than anything here: to print or compare such a value would
 * overflow the stack
 */
export function parseJson(bytes: Uint8Array): unknown {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const character = String.fromCharCode(bytes[i]);
    if (inString) {
      if (character === '\\') i++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '[' || character === '{') {
      if (++depth > MAX_DEPTH) throw new SyntaxError(`it is nested more than ${MAX_DEPTH} deep`);
    } else if (character === ']' || character === '}') depth--;
  }
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

/**
 * The content of a small JSON file.
 *
 * @throws UserError where it is missing, larger than `maxBytes`, or no JSON
 */
export function readJson(path: string, maxBytes: number = MAX_BYTES): unknown {
  try {
    const file = new RangedFile(path);
    if (file.size > maxBytes) throw new Error(`it has ${file.size} bytes, at most ${maxBytes} are read`);
    return parseJson(file.read(0, file.size));
  } catch (error) {
    throw new UserError(`${path} is missing or damaged: ${messageOf(error)}`);
  }
}

/** Whether a value that was parsed is an object with named fields: no list, and not null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value of JSON in a message, where another was expected. A list or an object may be nested too deep to be printed. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : JSON.stringify(value).slice(0, 60);
}
