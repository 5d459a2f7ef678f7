/** Parts of PyTorch files, byte by byte, for tests of files that PyTorch would not write. */

import { deflateRawSync } from 'node:zlib';

/** Parts one after the other; opcodes are given as latin1 text. */
export function bytes(...parts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
}

/** BINUNICODE */
export function text(value: string): Buffer {
  const content = Buffer.from(value);
  return bytes('X', uint32(content.length), content);
}

/** BININT */
export function integer(value: number): Buffer {
  const operand = Buffer.alloc(4);
  operand.writeInt32LE(value);
  return bytes('J', operand);
}

/** LONG1 of eight bytes */
export function long(value: bigint): Buffer {
  return bytes('\x8a\x08', uint64(BigInt.asUintN(64, value)));
}

/** BINFLOAT */
export function float(value: number): Buffer {
  const operand = Buffer.alloc(8);
  operand.writeDoubleBE(value);
  return bytes('G', operand);
}

/** GLOBAL */
export function named(module: string, name: string): Buffer {
  return bytes(`c${module}\n${name}\n`);
}

/** MARK … TUPLE */
export function tuple(...items: readonly Uint8Array[]): Buffer {
  return bytes('(', ...items, 't');
}

export function uint32(value: number): Buffer {
  const operand = Buffer.alloc(4);
  operand.writeUInt32LE(value);
  return operand;
}

export function uint64(value: bigint): Buffer {
  const operand = Buffer.alloc(8);
  operand.writeBigUInt64LE(value);
  return operand;
}

/** PROTO 2 … STOP */
export function pickleOf(...parts: readonly (string | Uint8Array)[]): Buffer {
  return bytes('\x80\x02', ...parts, '.');
}

/** The persistent id of a storage, and BINPERSID. */
export function storage(
  key: Uint8Array = text('0'),
  type: Uint8Array = named('torch', 'FloatStorage'),
): Buffer {
  return bytes(tuple(text('storage'), type, key, text('cpu'), integer(2)), 'Q');
}

/** A call of _rebuild_tensor_v2 with what is said of a tensor. */
export function tensor(
  shape: Uint8Array,
  strides: Uint8Array,
  offset: Uint8Array = integer(0),
  from: Uint8Array = storage(),
): Buffer {
  const hooks = bytes(named('collections', 'OrderedDict'), ')R');
  return bytes(
    named('torch._utils', '_rebuild_tensor_v2'),
    tuple(from, offset, shape, strides, bytes('\x89'), hooks),
    'R',
  );
}

/** float32 [2] over the first storage */
export const pair = tensor(tuple(integer(2)), tuple(integer(1)));

/** A dictionary by its entries, key and value in turn. */
export function dictionary(...entries: readonly Uint8Array[]): Buffer {
  return bytes('}(', ...entries, 'u');
}

/** An archive of torch.save with one storage, the float32 values 1 and 2. */
export function archive(pickle: Uint8Array): Buffer {
  return zip({ 'a/data.pkl': pickle, 'a/data/0': floats });
}

export const floats = new Uint8Array(Float32Array.of(1, 2).buffer);

/** A file of torch.save before PyTorch 1.6: its value, the list of its storages, and their bytes. */
export function legacy(
  value: Uint8Array,
  keys: Uint8Array = pickleOf('](', text('0'), 'e'),
  storages: Uint8Array = bytes(uint64(2n), floats),
  { magic = legacyMagic, protocol = pickleOf('M\xe9\x03'), system = pickleOf('}') } = {},
): Buffer {
  return bytes(magic, protocol, system, value, keys, storages);
}

const legacyMagic = pickleOf('\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19');

/**
 * A zip archive of members, as torch.save lays it out but without zip64. A list may name a member twice.
 *
 * @param method of the directory's entries: 0 stored, 8 deflated
 */
export function zip(
  members: Record<string, Uint8Array> | readonly (readonly [string, Uint8Array])[],
  method = 0,
): Buffer {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  const list = Array.isArray(members) ? members : Object.entries(members);
  for (const [name, content] of list) {
    const data = method === 8 ? deflateRawSync(content) : content;
    const title = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(title.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(content.length, 24);
    central.writeUInt16LE(title.length, 28);
    central.writeUInt32LE(offset, 42);
    parts.push(local, title, data);
    directory.push(central, title);
    offset += 30 + title.length + data.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(list.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
