import { pipeline } from 'node:stream';
import { pipeline as pipelineToEnd } from 'node:stream/promises';
import { createDeflateRaw, createInflateRaw } from 'node:zlib';
import { UserError } from '../errors.js';
import { writeChunksAtomic } from './atomic.js';
import { crc32 } from './crc.js';
import { RangedFile } from './readFile.js';
import {
  DEFLATED,
  DESCRIPTOR_SIGNATURE,
  EARLIEST_DATE,
  END_LENGTH,
  END_SIGNATURE,
  ENTRY_SIGNATURE,
  HAS_DESCRIPTOR,
  LOCAL_SIGNATURE,
  MAX_COMMENT,
  STORED,
  UTF8_NAMES,
} from './zipFormat.js';

/** Deflate came with version 2.0 of the format. */
const VERSION = 20;
/** Beyond this a zip file needs the zip64 form, which isn't written here. */
const MAX_BYTES = 2 ** 32 - 1;
/** Read at a time. */
const CHUNK_BYTES = 1 << 20;

/**
 * Writes a zip file of one compressed member, whose data come in chunks, in little memory.
 *
 * @throws UserError where there are 4 GiB or more of them
 */
export function writeZipFile(path: string, name: string, data: AsyncIterable<Uint8Array>): Promise<void> {
  return writeChunksAtomic(path, zipped(path, name, data));
}

async function* zipped(
  path: string,
  name: string,
  data: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const title = Buffer.from(name);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(LOCAL_SIGNATURE, 0);
  local.writeUInt16LE(VERSION, 4);
  writeCommon(local, 6, 0, 0, 0, title.length);
  yield local;
  yield title;

  let crc = 0;
  let size = 0;
  let packed = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of data) {
      crc = crc32(chunk, crc);
      size += chunk.length;
      yield chunk;
    }
  }
  const deflate = createDeflateRaw();
  // What goes wrong with `data` comes out of `deflate`, too.
  const fed = pipelineToEnd(counted(), deflate).catch(() => {});
  try {
    for await (const chunk of deflate as AsyncIterable<Buffer>) {
      packed += chunk.length;
      yield chunk;
    }
  } finally {
    await fed;
  }
  if (size > MAX_BYTES)
    throw new UserError(`${path}: ${size} bytes are more than a zip file holds here (4 GiB)`);

  const descriptor = Buffer.alloc(16);
  descriptor.writeUInt32LE(DESCRIPTOR_SIGNATURE, 0);
  descriptor.writeUInt32LE(crc, 4);
  descriptor.writeUInt32LE(packed, 8);
  descriptor.writeUInt32LE(size, 12);
  yield descriptor;

  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(ENTRY_SIGNATURE, 0);
  entry.writeUInt16LE(VERSION, 4);
  entry.writeUInt16LE(VERSION, 6);
  writeCommon(entry, 8, crc, packed, size, title.length);
  yield entry;
  yield title;

  const end = Buffer.alloc(END_LENGTH);
  end.writeUInt32LE(END_SIGNATURE, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(entry.length + title.length, 12);
  end.writeUInt32LE(local.length + title.length + packed + descriptor.length, 16);
  yield end;
}

/** The fields that the member's own header and its entry in the directory share. */
function writeCommon(
  target: Buffer,
  at: number,
  crc: number,
  packed: number,
  size: number,
  nameLength: number,
): void {
  target.writeUInt16LE(UTF8_NAMES | HAS_DESCRIPTOR, at);
  target.writeUInt16LE(DEFLATED, at + 2);
  target.writeUInt16LE(EARLIEST_DATE, at + 6);
  target.writeUInt32LE(crc, at + 8);
  target.writeUInt32LE(packed, at + 12);
  target.writeUInt32LE(size, at + 16);
  target.writeUInt16LE(nameLength, at + 20);
}

/** A member of a zip file and its data, unpacked as they are read. */
export interface ZipFileMember {
  name: string;
  data: AsyncIterable<Uint8Array>;
}

/**
 * Opens a zip file of one member, stored or deflated, from its directory (without zip64).
 *
 * @throws UserError where it is no such file; while the data are read, where they are damaged
 */
export function openZipFile(path: string): ZipFileMember {
  const broken = (what: string) => new UserError(`${path} is no readable zip file: ${what}`);
  const file = new RangedFile(path);
  const tailLength = Math.min(file.size, END_LENGTH + MAX_COMMENT);
  const tail = Buffer.from(file.read(file.size - tailLength, tailLength));
  const signature = Buffer.alloc(4);
  signature.writeUInt32LE(END_SIGNATURE);
  const end = tail.lastIndexOf(signature);
  if (end < 0 || end + END_LENGTH > tail.length) throw broken('it has no directory');
  const count = tail.readUInt16LE(end + 10);
  if (count !== 1) throw broken(`it has ${count} members, expected one`);
  const entry = Buffer.from(file.read(tail.readUInt32LE(end + 16), 46, path));
  if (entry.readUInt32LE(0) !== ENTRY_SIGNATURE) throw broken('its directory is damaged');
  const name = Buffer.from(
    file.read(tail.readUInt32LE(end + 16) + 46, entry.readUInt16LE(28), path),
  ).toString();
  const [method, crc] = [entry.readUInt16LE(10), entry.readUInt32LE(16)];
  const [packed, size, header] = [entry.readUInt32LE(20), entry.readUInt32LE(24), entry.readUInt32LE(42)];
  if (method !== STORED && method !== DEFLATED) throw broken(`its member is packed by method ${method}`);
  const local = Buffer.from(file.read(header, 30, path));
  if (local.readUInt32LE(0) !== LOCAL_SIGNATURE) throw broken('its member is not where the directory says');
  const start = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (start + packed > file.size) throw broken('its member is cut off');
  function* stored(): Generator<Uint8Array> {
    for (let done = 0; done < packed; done += CHUNK_BYTES) {
      yield file.read(start + done, Math.min(CHUNK_BYTES, packed - done), path);
    }
  }
  async function* unpack(): AsyncGenerator<Uint8Array> {
    // What goes wrong with reading comes out of the last of them.
    const chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array> =
      method === STORED ? stored() : pipeline(stored(), createInflateRaw(), () => {});
    let found = 0;
    let foundCrc = 0;
    try {
      for await (const chunk of chunks) {
        found += chunk.length;
        if (found > size) throw broken('its member is longer than the directory says');
        foundCrc = crc32(chunk, foundCrc);
        yield chunk;
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')) {
        throw broken(`its member is damaged (${error.message})`);
      }
      throw error;
    }
    if (found !== size || foundCrc !== crc) throw broken("its member's checksum or size is wrong");
  }
  return { name, data: unpack() };
}
