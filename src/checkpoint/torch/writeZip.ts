import type { Append } from '../../io/atomic.js';
import { crc32 } from '../../io/crc.js';
import {
  EARLIEST_DATE,
  END_SIGNATURE,
  ENTRY_SIGNATURE,
  LOCAL_SIGNATURE,
  UNSET_16,
  UNSET_32,
  UTF8_NAMES,
  ZIP64_END_SIGNATURE,
  ZIP64_FIELD,
  ZIP64_LOCATOR_SIGNATURE,
} from '../../io/zipFormat.js';

export interface NewMember {
  name: string;
  /** the data, asked for once, when its turn comes */
  read(): Uint8Array;
}

const ALIGNMENT = 64;
/** Zip64 is what makes archives and members above 4 GiB possible; it came with version 4.5 of the format. */
const VERSION = 45;
/** The extra field that PyTorch pads with: "FB". */
const PADDING_FIELD = 0x4246;

/**
 * Appends a zip archive as torch.save lays it out: members stored as they are, in the given order, their data at
 * multiples of 64 bytes so that it can be mapped into memory. All sizes are zip64 ones, small archives' too, so that
 * there is one form. One member's data is in memory at a time.
 */
export function writeZip(append: Append, members: Iterable<NewMember>): void {
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, read } of members) {
    const data = read();
    const title = Buffer.from(name);
    const crc = crc32(data);
    const header = localHeader(title, crc, data.length, offset);
    directory.push(directoryEntry(title, crc, data.length, offset));
    append(header);
    append(data);
    offset += header.length + data.length;
  }
  const entries = Buffer.concat(directory);
  append(entries);
  append(endOfArchive(directory.length, entries.length, offset));
}

function localHeader(title: Buffer, crc: number, size: number, offset: number): Buffer {
  const before = 30 + title.length + 20 + 4;
  const padding = (ALIGNMENT - ((offset + before) % ALIGNMENT)) % ALIGNMENT;
  const header = Buffer.alloc(before + padding);
  header.writeUInt32LE(LOCAL_SIGNATURE, 0);
  writeCommon(header, 4, crc, title.length, before + padding - 30 - title.length);
  title.copy(header, 30);
  const extra = 30 + title.length;
  header.writeUInt16LE(ZIP64_FIELD, extra);
  header.writeUInt16LE(16, extra + 2);
  header.writeBigUInt64LE(BigInt(size), extra + 4);
  header.writeBigUInt64LE(BigInt(size), extra + 12);
  header.writeUInt16LE(PADDING_FIELD, extra + 20);
  header.writeUInt16LE(padding, extra + 22);
  return header;
}

function directoryEntry(title: Buffer, crc: number, size: number, offset: number): Buffer {
  const entry = Buffer.alloc(46 + title.length + 28);
  entry.writeUInt32LE(ENTRY_SIGNATURE, 0);
  entry.writeUInt16LE(VERSION, 4);
  writeCommon(entry, 6, crc, title.length, 28);
  entry.writeUInt32LE(UNSET_32, 42);
  title.copy(entry, 46);
  const extra = 46 + title.length;
  entry.writeUInt16LE(ZIP64_FIELD, extra);
  entry.writeUInt16LE(24, extra + 2);
  entry.writeBigUInt64LE(BigInt(size), extra + 4);
  entry.writeBigUInt64LE(BigInt(size), extra + 12);
  entry.writeBigUInt64LE(BigInt(offset), extra + 20);
  return entry;
}

/** The fields that a member's own header and its entry in the directory share. */
function writeCommon(target: Buffer, at: number, crc: number, nameLength: number, extraLength: number): void {
  target.writeUInt16LE(VERSION, at);
  target.writeUInt16LE(UTF8_NAMES, at + 2);
  target.writeUInt16LE(EARLIEST_DATE, at + 8);
  target.writeUInt32LE(crc, at + 10);
  target.writeUInt32LE(UNSET_32, at + 14);
  target.writeUInt32LE(UNSET_32, at + 18);
  target.writeUInt16LE(nameLength, at + 22);
  target.writeUInt16LE(extraLength, at + 24);
}

/** The zip64 end record, its locator, and the end record that points to them. */
function endOfArchive(count: number, directorySize: number, directoryOffset: number): Buffer {
  const end = Buffer.alloc(56 + 20 + 22);
  end.writeUInt32LE(ZIP64_END_SIGNATURE, 0);
  end.writeBigUInt64LE(44n, 4); // bytes of this record that follow
  end.writeUInt16LE(VERSION, 12);
  end.writeUInt16LE(VERSION, 14);
  end.writeBigUInt64LE(BigInt(count), 24);
  end.writeBigUInt64LE(BigInt(count), 32);
  end.writeBigUInt64LE(BigInt(directorySize), 40);
  end.writeBigUInt64LE(BigInt(directoryOffset), 48);
  end.writeUInt32LE(ZIP64_LOCATOR_SIGNATURE, 56);
  end.writeBigUInt64LE(BigInt(directoryOffset + directorySize), 64);
  end.writeUInt32LE(1, 72); // disks
  end.writeUInt32LE(END_SIGNATURE, 76);
  end.writeUInt16LE(UNSET_16, 84);
  end.writeUInt16LE(UNSET_16, 86);
  end.writeUInt32LE(UNSET_32, 88);
  end.writeUInt32LE(UNSET_32, 92);
  return end;
}
