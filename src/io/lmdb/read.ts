import { closeSync, fstatSync } from 'node:fs';
import { UserError } from '../../errors.js';
import { openForReading, readFully } from '../readFile.js';
import {
  database,
  MAGIC,
  MAX_DEPTH,
  meta,
  NO_PAGE,
  nodeFlags,
  PAGE_HEADER,
  page,
  pageFlags,
  VERSION,
} from './format.js';
import { TreePage } from './treePage.js';

/** Where the bytes of a value are. */
export interface ValuePlace {
  /** in the file */
  position: number;
  length: number;
}

export interface LmdbEntry extends ValuePlace {
  /** a view of its page: copy what you keep */
  key: Buffer;
}

/** No picture or caption is larger, and a length in a damaged file must not fill the memory. */
const MAX_VALUE_BYTES = 64 << 20;
const MIN_PAGE_BYTES = 256;
const MAX_PAGE_BYTES = 32768;

interface Meta {
  pageSize: number;
  depth: number;
  root: bigint;
  entries: number;
  flags: number;
  transaction: bigint;
}

/**
 * A data.mdb file of LMDB 0.9, as Python's lmdb writes it on 64-bit little-endian systems: its unnamed database. Pages
 * are read one at a time on one descriptor, never the whole file. Nobody may write to the file meanwhile: no lock is
 * taken.
 *
 * Whatever the file holds, reading ends: keys must ascend and all leaves lie at one depth, so no page comes twice.
 * Everything throws UserError naming the file where it is damaged.
 */
export class LmdbFile {
  readonly #file: number;
  readonly #size: number;
  readonly #meta: Meta;
  /** the page of which a value was read last */
  #last: { start: number; bytes: Buffer } = { start: -1, bytes: Buffer.alloc(0) };

  /** @throws UserError where the file can't be read, is no LMDB, or is one of a kind that is not read here */
  constructor(readonly path: string) {
    this.#file = openForReading(path);
    try {
      this.#size = fstatSync(this.#file).size;
      this.#meta = this.#readMeta();
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  /** Number of keys, as the file states it; `entries` checks it. */
  get entryCount(): number {
    return this.#meta.entries;
  }

  /** All keys in order of their bytes, with the places of their values. */
  *entries(): Generator<LmdbEntry> {
    const { root, depth, entries } = this.#meta;
    let last: Buffer | undefined;
    let count = 0;
    for (const leaf of root === NO_PAGE ? [] : this.#leaves(root, depth)) {
      for (let i = 0; i < leaf.nodeCount; i++) {
        const key = leaf.key(i);
        if (last !== undefined && last.compare(key) >= 0)
          throw this.#damaged(leaf.number, 'keys do not ascend');
        last = key;
        if (++count > entries)
          throw this.#damaged(leaf.number, `more than the ${entries} keys of the header`);
        yield { key, ...this.#place(leaf, i) };
      }
    }
    if (count !== entries) {
      throw new UserError(`${this.path} is damaged: it has ${count} keys, its header says ${entries}`);
    }
  }

  /** The place of a key's value; undefined where the file has no such key. */
  find(key: Uint8Array): ValuePlace | undefined {
    const { root, depth } = this.#meta;
    if (root === NO_PAGE) return undefined;
    let tree = this.#page(root, depth === 1);
    for (let level = 1; level < depth; level++) {
      // The last child whose first key is not greater; the first child where all others' are.
      const next = firstIndex(1, tree.nodeCount, (i) => tree.key(i).compare(key) > 0);
      tree = this.#page(tree.child(next - 1), level + 1 === depth);
    }
    const at = firstIndex(0, tree.nodeCount, (i) => tree.key(i).compare(key) >= 0);
    if (at === tree.nodeCount || tree.key(at).compare(key) !== 0) return undefined;
    return this.#place(tree, at);
  }

  /** The bytes of a value. @param where what it is, for error messages */
  read({ position, length }: ValuePlace, where: string): Buffer {
    if (length > MAX_VALUE_BYTES) throw new UserError(`${where}: longer than ${MAX_VALUE_BYTES >> 20} MiB`);
    // An empty value may stand at the very end of its page.
    if (length === 0) return Buffer.alloc(0);
    const { pageSize } = this.#meta;
    const inPage = position % pageSize;
    // Only the value of an overflow page begins right behind its header: a node has a header and a key before it.
    if (inPage !== PAGE_HEADER) {
      // Values that follow each other mostly lie in one page.
      if (this.#last.start !== position - inPage) {
        this.#last = { start: position - inPage, bytes: this.#range(position - inPage, pageSize, where) };
      }
      return this.#last.bytes.subarray(inPage, inPage + length);
    }
    const bytes = this.#range(position - PAGE_HEADER, PAGE_HEADER + length, where);
    const number = BigInt((position - PAGE_HEADER) / pageSize);
    const pages = bytes.readUInt32LE(page.overflowPages);
    const fits =
      bytes.readBigUInt64LE(page.number) === number &&
      bytes.readUInt16LE(page.flags) === pageFlags.overflow &&
      bytes.length <= pages * pageSize;
    if (!fits) throw this.#damaged(number, `expected a value of ${length} bytes (${where})`);
    return bytes.subarray(PAGE_HEADER);
  }

  close(): void {
    closeSync(this.#file);
  }

  /** The leaves in order. */
  *#leaves(number: bigint, depth: number): Generator<TreePage> {
    const tree = this.#page(number, depth === 1);
    if (depth === 1) yield tree;
    else for (let i = 0; i < tree.nodeCount; i++) yield* this.#leaves(tree.child(i), depth - 1);
  }

  #place(leaf: TreePage, index: number): ValuePlace {
    const { pageSize } = this.#meta;
    const { flags, length, offset } = leaf.value(index);
    if ((flags & (nodeFlags.database | nodeFlags.duplicates)) !== 0) {
      throw new UserError(
        `${this.path}: the key ${printable(leaf.key(index))} stands for another database or several values; ` +
          'expected one value a key, as the tools of Chinese-CLIP write them',
      );
    }
    const inFile = Number(leaf.number) * pageSize + offset;
    if ((flags & nodeFlags.overflow) === 0) return { position: inFile, length };
    const position = Number(leaf.overflow(index)) * pageSize + PAGE_HEADER;
    if (position + length > this.#size) {
      throw new UserError(
        `${this.path} is truncated or damaged: the value of ${printable(leaf.key(index))} ends at byte ` +
          `${position + length}, the file has ${this.#size}`,
      );
    }
    return { position, length };
  }

  #page(number: bigint, isLeaf: boolean): TreePage {
    const { pageSize } = this.#meta;
    if (number < 2n || number >= BigInt(Math.ceil(this.#size / pageSize))) {
      throw this.#damaged(
        number,
        `the file has ${Math.floor(this.#size / pageSize)} pages: is it truncated?`,
      );
    }
    const bytes = this.#range(Number(number) * pageSize, pageSize, `${this.path}, page ${number}`);
    const wanted = isLeaf ? pageFlags.leaf : pageFlags.branch;
    if (bytes.readBigUInt64LE(page.number) !== number || bytes.readUInt16LE(page.flags) !== wanted) {
      throw this.#damaged(number, `expected a ${isLeaf ? 'leaf' : 'branch'} of the tree`);
    }
    return new TreePage(bytes, number, (what) => this.#damaged(number, what));
  }

  /** The newer of the two meta pages that are whole. */
  #readMeta(): Meta {
    const first = this.#metaAt(0);
    const second = this.#metaAt(first?.pageSize ?? 4096);
    const newest =
      first !== undefined && !(second !== undefined && second.transaction > first.transaction)
        ? first
        : second;
    if (newest === undefined) {
      throw new UserError(
        `${this.path}: expected an LMDB data file (of LMDB 0.9, version ${VERSION}, 64-bit little-endian); ` +
          'its first pages say otherwise, or are damaged',
      );
    }
    if (newest.flags !== 0) {
      throw new UserError(
        `${this.path}: its keys are of a kind (flags 0x${newest.flags.toString(16)}) that is not read here; expected ` +
          'plain ones, as the tools of Chinese-CLIP write them',
      );
    }
    const isEmpty = newest.root === NO_PAGE;
    if (
      !Number.isSafeInteger(newest.entries) ||
      newest.depth > MAX_DEPTH ||
      isEmpty !== (newest.depth === 0)
    ) {
      throw new UserError(
        `${this.path} is damaged: its header claims ${newest.entries} keys at depth ${newest.depth}`,
      );
    }
    return newest;
  }

  #metaAt(position: number): Meta | undefined {
    if (position + meta.end > this.#size) return undefined;
    const bytes = this.#range(position, meta.end, this.path);
    const pageSize = bytes.readUInt32LE(meta.pageSize);
    const isMeta =
      (bytes.readUInt16LE(page.flags) & pageFlags.meta) !== 0 &&
      bytes.readUInt32LE(meta.magic) === MAGIC &&
      bytes.readUInt32LE(meta.version) === VERSION &&
      pageSize >= MIN_PAGE_BYTES &&
      pageSize <= MAX_PAGE_BYTES &&
      2 * pageSize <= this.#size &&
      (pageSize & (pageSize - 1)) === 0;
    if (!isMeta) return undefined;
    const main = bytes.subarray(meta.main);
    return {
      pageSize,
      flags: main.readUInt16LE(database.flags),
      depth: main.readUInt16LE(database.depth),
      entries: Number(main.readBigUInt64LE(database.entries)),
      root: main.readBigUInt64LE(database.root),
      transaction: bytes.readBigUInt64LE(meta.transaction),
    };
  }

  #range(position: number, length: number, where: string): Buffer {
    if (position + length > this.#size) {
      throw new UserError(
        `${where}: truncated (${position + length} bytes needed, the file has ${this.#size})`,
      );
    }
    const bytes = Buffer.allocUnsafe(length);
    readFully(this.#file, position, bytes, where);
    return bytes;
  }

  #damaged(number: bigint, what: string): UserError {
    return new UserError(`${this.path} is damaged at page ${number}: ${what}`);
  }
}

/** The first index in [from, to) for which `isBeyond` holds, and holds from there on; `to` where there is none. */
function firstIndex(from: number, to: number, isBeyond: (index: number) => boolean): number {
  let [low, high] = [from, to];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBeyond(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function printable(key: Buffer): string {
  return JSON.stringify(key.toString('utf8', 0, 60));
}
