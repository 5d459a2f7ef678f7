import { inflateRawSync } from 'node:zlib';
import { messageOf, UserError } from '../../errors.js';
import type { RangedFile } from '../../io/readFile.js';
import {
  DEFLATED,
  END_LENGTH,
  END_SIGNATURE,
  ENTRY_SIGNATURE,
  LOCAL_SIGNATURE,
  MAX_COMMENT,
  STORED,
  UNSET_16,
  UNSET_32,
  ZIP64_END_SIGNATURE,
  ZIP64_FIELD,
  ZIP64_LOCATOR_SIGNATURE,
} from '../../io/zipFormat.js';

/** Where the bytes of an archive's member lie in the file. */
export interface ZipMember {
  offset: number;
  /** bytes of the data itself */
  size: number;
  /** bytes in the file where they are deflated, else undefined */
  deflated?: number;
}

const MAX_DIRECTORY = 4 * 2 ** 20;
/** The largest official model with its optimizer has 3,000. */
const MAX_MEMBERS = 20_000;
/** Deflate writes at most 258 bytes for two bits. */
const MAX_RATIO = 1032;
/** All deflated members together may hold this many times the bytes of the file: weights hardly get smaller. */
const MAX_INFLATION = 16;

/** Whether a file begins as a zip archive does. */
export function isZip(file: RangedFile): boolean {
  return file.size >= 4 && Buffer.from(file.read(0, 4).buffer).readUInt32LE() === LOCAL_SIGNATURE;
}

/**
 * The members of a zip archive by name, from its central directory (zip64 too). PyTorch stores them as they are, all
 * but TorchScript's source code; other programs deflate them. Those compressed in other ways are left out.
 *
 * @throws UserError where the file is no such archive, a member does not lie before its directory, two have one name,
 * or deflated ones claim more bytes than weights can have
 */
export function readZipDirectory(file: RangedFile): Map<string, ZipMember> {
  const { path, size: fileSize } = file;
  const broken = (what: string) => new UserError(`${path} is no readable zip archive: ${what}`);
  const read = (offset: number, length: number): Buffer => {
    if (offset < 0 || offset + length > fileSize) throw broken('it is cut off');
    return Buffer.from(file.read(offset, length).buffer);
  };

  const directory = findDirectory(read, fileSize, broken);
  if (directory.size > MAX_DIRECTORY) throw broken(`its directory has ${directory.size} bytes`);
  if (directory.count > MAX_MEMBERS) throw broken(`it has ${directory.count} members`);
  const bytes = read(directory.offset, directory.size);
  const members = new Map<string, ZipMember>();
  let inflated = 0;
  for (let at = 0, i = 0; i < directory.count; i++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== ENTRY_SIGNATURE)
      throw broken('its directory is damaged');
    const nameLength = bytes.readUInt16LE(at + 28);
    const extraLength = bytes.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + bytes.readUInt16LE(at + 32);
    if (next > bytes.length) throw broken('its directory is damaged');
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    const shown = name.slice(0, 200);
    const method = bytes.readUInt16LE(at + 10);
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [size, packed, header] = wideFields(
      [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)],
      extra,
    );
    const local = read(header, 30);
    if (local.readUInt32LE(0) !== LOCAL_SIGNATURE)
      throw broken(`member ${shown} is not where the directory says`);
    const offset = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
    if (method === STORED || method === DEFLATED) {
      const length = method === STORED ? size : packed;
      if (offset + length > directory.offset) throw broken(`member ${shown} is cut off`);
      if (members.has(name)) throw broken(`it has two members ${shown}`);
      members.set(name, method === STORED ? { offset, size } : { offset, size, deflated: packed });
    }
    if (method === DEFLATED) {
      inflated += size;
      if (!(size <= MAX_RATIO * packed)) throw broken(`member ${shown} can't have ${size} bytes`);
      if (!(inflated <= MAX_INFLATION * fileSize)) {
        throw broken(`its members would have more than ${MAX_INFLATION} times the bytes of the file`);
      }
    }
    at = next;
  }
  return members;
}

/**
 * The whole data of a member.
 *
 * @throws UserError where its deflated form is damaged or holds another number of bytes than the directory says
 */
export function readMember(file: RangedFile, { offset, size, deflated }: ZipMember): Uint8Array<ArrayBuffer> {
  if (deflated === undefined) return file.read(offset, size);
  if (size === 0) return new Uint8Array(0);
  let data: Buffer<ArrayBuffer>;
  try {
    data = inflateRawSync(file.read(offset, deflated), { maxOutputLength: size }) as Buffer<ArrayBuffer>;
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${file.path} is damaged: a member can't be inflated (${messageOf(error)})`);
  }
  if (data.length === size) return data;
  throw new UserError(`${file.path} is damaged: a member has ${data.length} bytes in place of ${size}`);
}

type Read = (offset: number, length: number) => Buffer;

function findDirectory(read: Read, fileSize: number, broken: (what: string) => UserError) {
  const tailLength = Math.min(fileSize, END_LENGTH + MAX_COMMENT);
  const tail = read(fileSize - tailLength, tailLength);
  for (let at = tailLength - END_LENGTH; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END_SIGNATURE) continue;
    const end = {
      count: tail.readUInt16LE(at + 10),
      size: tail.readUInt32LE(at + 12),
      offset: tail.readUInt32LE(at + 16),
    };
    if (end.count !== UNSET_16 && end.size !== UNSET_32 && end.offset !== UNSET_32) return end;
    const locator = read(fileSize - tailLength + at - 20, 20);
    if (locator.readUInt32LE(0) !== ZIP64_LOCATOR_SIGNATURE) return end;
    const wide = read(Number(locator.readBigUInt64LE(8)), 56);
    if (wide.readUInt32LE(0) !== ZIP64_END_SIGNATURE) throw broken('its zip64 directory is damaged');
    return {
      count: Number(wide.readBigUInt64LE(32)),
      size: Number(wide.readBigUInt64LE(40)),
      offset: Number(wide.readBigUInt64LE(48)),
    };
  }
  throw broken('it has no directory (is the download complete?)');
}

/** Replaces fields that are all ones by the 64-bit values of the zip64 extra field, which come in the same order. */
function wideFields(fields: number[], extra: Buffer): number[] {
  if (!fields.includes(UNSET_32)) return fields;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== ZIP64_FIELD) continue;
    let next = at + 4;
    return fields.map((field) => {
      if (field !== UNSET_32 || next + 8 > extra.length) return field;
      next += 8;
      return Number(extra.readBigUInt64LE(next - 8));
    });
  }
  return fields;
}
