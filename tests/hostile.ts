import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { UserError } from '../src/errors.js';
import { readValues } from '../src/io/tensor.js';
import { temporaryDirectory } from './support.js';
import { bytes, uint64 } from './torchBytes.js';

/** Milliseconds, bytes and characters that a refusal may take. */
const MAX_TIME = 2000;
const MAX_MEMORY = 200e6;
const MAX_MESSAGE = 2000;

/** Reads all that a checkpoint holds: tensors, training state with its moments, and the config if there is one. */
export function readAllOf(location: string): void {
  const checkpoint = openCheckpoint(location);
  for (const tensor of checkpoint.tensors.values()) readValues(tensor);
  const moments = checkpoint.training()?.optimizer?.moments ?? new Map();
  for (const { first, second } of moments.values()) {
    readValues(first);
    readValues(second);
  }
}

/**
 * Asserts that reading ends with an error of ours: its message has bounded length, no control characters, and names
 * the file; it comes in bounded time and memory.
 *
 * @param file what the message must name
 */
export function assertRefused(read: () => unknown, file: string, message: RegExp, what: string): void {
  const before = process.memoryUsage().rss;
  const started = performance.now();
  let error: unknown;
  try {
    read();
  } catch (thrown) {
    error = thrown;
  }
  const time = performance.now() - started;
  const memory = process.memoryUsage().rss - before;
  assert.ok(error !== undefined, `${what}: was accepted`);
  assert.match(messageOfOurs(error, file, what), message, what);
  assert.ok(time < MAX_TIME, `${what}: took ${time.toFixed()} ms`);
  assert.ok(memory < MAX_MEMORY, `${what}: took ${(memory / 1e6).toFixed()} MB`);
}

/**
 * Reads what may be damaged: it must be read, or end with an error of ours, whose message has bounded length, in bounded
 * time.
 *
 * @param what which damage, for messages; one that is drawn at random must be a function of the number named here
 * @param limits what the message must name; how long message and reading may be, if not as above
 * @returns whether it was refused
 */
export async function isRefused(
  read: () => unknown,
  what: string,
  limits: { file?: string; message?: number; time?: number } = {},
): Promise<boolean> {
  const { file = '', message = MAX_MESSAGE, time = MAX_TIME } = limits;
  const started = performance.now();
  let error: unknown;
  try {
    await read();
  } catch (thrown) {
    error = thrown;
  }
  const taken = performance.now() - started;
  assert.ok(taken < time, `${what}: took ${taken.toFixed()} ms`);
  if (error === undefined) return false;
  const { length } = messageOfOurs(error, file, what);
  assert.ok(length < message, `${what}: a message of ${length} characters`);
  return true;
}

function messageOfOurs(error: unknown, file: string, what: string): string {
  if (!(error instanceof UserError)) throw new Error(`${what}: not an error of ours`, { cause: error });
  const { message } = error;
  assert.ok(message.length < MAX_MESSAGE, `${what}: a message of ${message.length} characters`);
  assert.ok(message.includes(file), `${what}: the file is not named in: ${message}`);
  assert.doesNotMatch(message, /[^\P{Cc}\n\t]/u, what);
  return message;
}

/** A folder for files, and a way to write one there under a new name. */
export function scratch(): { folder: string; write(content: Uint8Array | string, ending?: string): string } {
  const folder = temporaryDirectory();
  let count = 0;
  const write = (content: Uint8Array | string, ending = '.pt') => {
    const path = join(folder, `${count++}${ending}`);
    writeFileSync(path, content);
    return path;
  };
  return { folder, write };
}

/** A safetensors file of a header, as text or as a value, and so many zeros. */
export function safetensors(header: unknown, dataBytes = 0, length?: bigint): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  return bytes(uint64(length ?? BigInt(json.length)), json, Buffer.alloc(dataBytes));
}

/** JSON of lists in lists. */
export function deep(levels: number): string {
  return '['.repeat(levels) + ']'.repeat(levels);
}
