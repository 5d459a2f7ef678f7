import { fstatSync } from 'node:fs';
import { UserError } from '../errors.js';
import { readFully } from './readFile.js';

/** A regular file of an archive: its name as the archive has it, and where its bytes lie. */
export interface TarMember {
  name: string;
  offset: number;
  size: number;
}

const BLOCK = 512;
/** Read at a time: the headers of several small members. */
const WINDOW = 8 * BLOCK;
const MAX_NAME_BYTES = 4096;
/** Attributes of a member in PAX form; ours are path and size, others may lie beside them. */
const MAX_PAX_BYTES = 1 << 20;
/** What tar programs fill an archive up to after its end mark, with room to spare. */
const MAX_PADDING = 1 << 20;

/** Archives in a form that has to be unpacked first, by their first bytes. */
const COMPRESSED: readonly [magic: string, name: string, command: string][] = [
  ['\x1f\x8b', 'gzip', 'gunzip'],
  ['\x28\xb5\x2f\xfd', 'zstd', 'unzstd'],
  ['BZh', 'bzip2', 'bunzip2'],
  ['\xfd7zXZ', 'xz', 'unxz'],
];

/**
 * The regular files of a tar archive in its order, found by reading headers alone: ustar, GNU long names, and PAX
 * headers (path and size). Every header's checksum is verified. Folders and links are passed over.
 *
 * @param file descriptor of the archive
 * @param path its name, for error messages
 * @throws UserError naming the archive and the offset where it is compressed, cut off, damaged, goes on after its end
 * mark, or holds a sparse file
 */
export function* tarMembers(file: number, path: string): Generator<TarMember> {
  const { size: fileSize } = fstatSync(file);
  const readHeader = headerReader(file, path, fileSize);
  refuseCompressed(file, path, fileSize);
  let longName: string | undefined;
  let pax: PaxAttributes = {};
  for (let position = 0; ; ) {
    const where = `${path}, offset ${position}`;
    const header = readHeader(position);
    if (header.every((byte) => byte === 0)) {
      requireEnd(file, path, position, fileSize);
      return;
    }
    verifyChecksum(header, where);
    const type = header[156] === 0 ? '0' : String.fromCharCode(header[156]);
    const size = pax.size ?? readNumber(header.subarray(124, 136), `${where}: the size`);
    const offset = position + BLOCK;
    if (offset + size > fileSize) {
      throw new UserError(
        `${where}: the archive is cut off, its member needs ${offset + size} bytes and the file has ${fileSize}`,
      );
    }
    position = offset + Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'L') longName = readLongName(file, offset, size, where);
    else if (type === 'x') pax = readPax(file, offset, size, where);
    else if (type === 'S')
      throw new UserError(`${where}: sparse files can't be read; pack it without --sparse`);
    else if (!'gK'.includes(type)) {
      // '7' is a file that asks to lie in one piece.
      if (type === '0' || type === '7')
        yield { name: pax.path ?? longName ?? readName(header), offset, size };
      longName = undefined;
      pax = {};
    }
  }
}

/** Reads headers through a window of a few blocks. */
function headerReader(file: number, path: string, fileSize: number): (position: number) => Buffer {
  const window = Buffer.alloc(WINDOW);
  let start = 0;
  let end = 0;
  return (position) => {
    if (position + BLOCK > fileSize) {
      throw new UserError(
        `${path}, offset ${position}: the archive is cut off, it has no end mark (is it complete?)`,
      );
    }
    if (position < start || position + BLOCK > end) {
      start = position;
      end = Math.min(position + WINDOW, fileSize);
      readFully(file, position, window.subarray(0, end - start), path);
    }
    return window.subarray(position - start, position - start + BLOCK);
  };
}

function refuseCompressed(file: number, path: string, fileSize: number): void {
  const start = Buffer.alloc(Math.min(8, fileSize));
  readFully(file, 0, start, path);
  const found = COMPRESSED.find(([magic]) => start.toString('latin1').startsWith(magic));
  if (found === undefined) return;
  const [, name, command] = found;
  throw new UserError(
    `${path}: a tar packed with ${name} can't be read by offset; unpack it first: ${command} --keep FILE (pictures hardly shrink)`,
  );
}

/** After the end mark only zeros may follow: what stands there would be lost without a word. */
function requireEnd(file: number, path: string, position: number, fileSize: number): void {
  const rest = Buffer.alloc(Math.min(fileSize - position, MAX_PADDING));
  readFully(file, position, rest, path);
  if (fileSize - position > MAX_PADDING || rest.some((byte) => byte !== 0)) {
    throw new UserError(
      `${path}, offset ${position}: the archive goes on after its end mark; archives are joined with tar --concatenate, not cat`,
    );
  }
}

/** The sum of the header's bytes, its own field taken as spaces; old programs summed signed bytes. */
function verifyChecksum(header: Buffer, where: string): void {
  const stored = readNumber(header.subarray(148, 156), `${where}: the checksum`);
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i += 8;
    const byte = header[i];
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  if (stored !== unsigned && stored !== signed) {
    throw new UserError(`${where}: no header of a tar archive, its checksum is wrong (damaged, or no tar?)`);
  }
}

/** Octal digits, or base 256 where the first bit is set (GNU, for sizes from 8 GiB). */
function readNumber(field: Buffer, what: string): number {
  if (field[0] & 0x80) {
    let value = field[0] & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    if (Number.isSafeInteger(value)) return value;
  } else {
    const digits = /^ *([0-7]*)[ \0]*$/.exec(field.toString('latin1'));
    if (digits) return digits[1] === '' ? 0 : Number.parseInt(digits[1], 8);
  }
  throw new UserError(`${what} is no number: the archive is damaged, or no tar`);
}

function readName(header: Buffer): string {
  const name = text(header.subarray(0, 100));
  const isUstar = header.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? text(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function text(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

function readLongName(file: number, offset: number, size: number, where: string): string {
  return text(readBounded(file, offset, size, MAX_NAME_BYTES, `${where}: a long name`));
}

interface PaxAttributes {
  path?: string;
  size?: number;
}

/** Records "LENGTH KEY=VALUE\n", where LENGTH counts the whole record. */
function readPax(file: number, offset: number, size: number, where: string): PaxAttributes {
  const bytes = readBounded(file, offset, size, MAX_PAX_BYTES, `${where}: a PAX header`);
  const broken = () => new UserError(`${where}: its PAX header is damaged`);
  const attributes: PaxAttributes = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 || space - at > 8 ? '' : bytes.toString('latin1', at, space);
    const end = at + Number(digits);
    if (!/^[1-9][0-9]*$/.test(digits) || end > bytes.length || bytes[end - 1] !== 0x0a) throw broken();
    const record = bytes.subarray(space + 1, end - 1);
    const equals = record.indexOf(0x3d);
    if (equals < 1) throw broken();
    const key = record.toString('utf8', 0, equals);
    const value = record.toString('utf8', equals + 1);
    if (key === 'path') {
      if (record.length > MAX_NAME_BYTES) throw broken();
      attributes.path = value;
    } else if (key === 'size') {
      if (!/^[0-9]{1,15}$/.test(value)) throw broken();
      attributes.size = Number(value);
    } else if (key.startsWith('GNU.sparse.')) {
      throw new UserError(`${where}: sparse files can't be read; pack it without --sparse`);
    }
    at = end;
  }
  return attributes;
}

function readBounded(file: number, offset: number, size: number, most: number, what: string): Buffer {
  if (size > most) throw new UserError(`${what} has ${size} bytes, at most ${most} are read`);
  const bytes = Buffer.alloc(size);
  readFully(file, offset, bytes, what);
  return bytes;
}
