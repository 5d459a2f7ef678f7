import { type FileWriter, writeNewFile } from '../fileWriter.js';
import {
  database,
  MAGIC,
  MAX_KEY_BYTES,
  maxNodeBytes,
  meta,
  NO_PAGE,
  NODE_HEADER,
  nodeFlags,
  PAGE_HEADER,
  page,
  pageFlags,
  VERSION,
} from './format.js';

/** That of LMDB on most systems. */
const PAGE_BYTES = 4096;
/** Of the table of free pages: its keys are integers. */
const INTEGER_KEYS = 8;

export interface NewEntry {
  key: Uint8Array;
  value: Uint8Array;
}

/** A node before it has its place: `low` and `flags` are the fields of its header. */
interface Node {
  key: Uint8Array;
  low: number;
  flags: number;
  data: Uint8Array;
}

/**
 * Writes a new data.mdb of LMDB 0.9 in one pass from keys that ascend. Pages are filled and written one after the
 * other; only one of each level of the tree is held. LMDB can read the file, and go on writing to it.
 *
 * @throws RangeError where keys do not ascend, are empty or longer than 511 bytes
 */
export async function writeLmdb(
  path: string,
  entries: Iterable<NewEntry> | AsyncIterable<NewEntry>,
): Promise<void> {
  await writeNewFile(path, async (file) => {
    const tree = new TreeWriter(file);
    let last: Uint8Array | undefined;
    for await (const { key, value } of entries) {
      if (key.length === 0 || key.length > MAX_KEY_BYTES) {
        throw new RangeError(`a key of ${key.length} bytes; expected 1 to ${MAX_KEY_BYTES}`);
      }
      if (last !== undefined && Buffer.compare(last, key) >= 0) {
        throw new RangeError(`the key ${Buffer.from(key)} does not come after ${Buffer.from(last)}`);
      }
      tree.add(key, value);
      last = key;
    }
    tree.finish();
  });
}

class TreeWriter {
  /** The unwritten page of each level, leaves first. */
  readonly #levels: OpenPage[] = [];
  readonly #counts = { branchPages: 0n, leafPages: 0n, overflowPages: 0n, entries: 0n };

  constructor(private readonly file: FileWriter) {
    // The meta pages, which are known at the end.
    file.append(Buffer.alloc(2 * PAGE_BYTES));
  }

  add(key: Uint8Array, value: Uint8Array): void {
    this.#counts.entries++;
    const isLarge = NODE_HEADER + key.length + value.length > maxNodeBytes(PAGE_BYTES);
    const data = isLarge ? this.#addOverflow(value) : value;
    this.#addNode(0, { key, low: value.length, flags: isLarge ? nodeFlags.overflow : 0, data });
  }

  /** Writes what is left of the tree, from the leaves to the root, then the meta pages. */
  finish(): void {
    let root = NO_PAGE;
    // Writing a page may add to the level above, or open it.
    for (let level = 0; level < this.#levels.length; level++) {
      const number = this.#writePage(level);
      if (level + 1 < this.#levels.length) this.#addChild(level + 1, this.#levels[level].firstKey, number);
      else root = number;
    }
    const fileBytes = BigInt(this.file.length);
    for (const transaction of [0n, 1n]) {
      const bytes = this.#metaPage(transaction, transaction === 1n ? root : NO_PAGE, fileBytes);
      this.file.overwrite(bytes, Number(transaction) * PAGE_BYTES);
    }
  }

  /** The number of the page that comes next, as a node holds it. */
  #nextPage(): bigint {
    return BigInt(this.file.length / PAGE_BYTES);
  }

  /** Writes a value to pages of its own. Returns the first one's number. */
  #addOverflow(value: Uint8Array): Uint8Array {
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(this.#nextPage());
    const pages = Math.ceil((PAGE_HEADER + value.length) / PAGE_BYTES);
    const header = Buffer.alloc(PAGE_HEADER);
    header.set(number, page.number);
    header.writeUInt16LE(pageFlags.overflow, page.flags);
    header.writeUInt32LE(pages, page.overflowPages);
    this.file.append(header);
    this.file.append(value);
    this.file.append(Buffer.alloc(pages * PAGE_BYTES - PAGE_HEADER - value.length));
    this.#counts.overflowPages += BigInt(pages);
    return number;
  }

  #addNode(level: number, node: Node): void {
    this.#levels[level] ??= new OpenPage(level > 0);
    const open = this.#levels[level];
    if (!open.fits(node)) {
      // LMDB allows no branch of one child: the last one comes along to the next page.
      const kept = open.isBranch ? open.takeLast() : undefined;
      const number = this.#writePage(level);
      this.#addChild(level + 1, open.firstKey, number);
      open.clear();
      if (kept !== undefined) open.add(kept);
    }
    open.add(node);
  }

  #addChild(level: number, key: Uint8Array, number: bigint): void {
    const low = Number(number & 0xffffffffn);
    this.#addNode(level, { key, low, flags: Number(number >> 32n), data: new Uint8Array(0) });
  }

  #writePage(level: number): bigint {
    const number = this.#nextPage();
    this.file.append(this.#levels[level].layOut(number));
    this.#counts[level === 0 ? 'leafPages' : 'branchPages']++;
    return number;
  }

  #metaPage(transaction: bigint, root: bigint, fileBytes: bigint): Buffer {
    const isEmpty = root === NO_PAGE;
    const bytes = Buffer.alloc(PAGE_BYTES);
    bytes.writeBigUInt64LE(transaction, page.number);
    bytes.writeUInt16LE(pageFlags.meta, page.flags);
    bytes.writeUInt32LE(MAGIC, meta.magic);
    bytes.writeUInt32LE(VERSION, meta.version);
    bytes.writeBigUInt64LE(fileBytes, meta.mapSize);
    bytes.writeUInt32LE(PAGE_BYTES, meta.pageSize);
    bytes.writeUInt16LE(INTEGER_KEYS, meta.freePages + database.flags);
    bytes.writeBigUInt64LE(NO_PAGE, meta.freePages + database.root);
    const main = bytes.subarray(meta.main);
    main.writeBigUInt64LE(root, database.root);
    if (!isEmpty) {
      main.writeUInt16LE(this.#levels.length, database.depth);
      main.writeBigUInt64LE(this.#counts.branchPages, database.branchPages);
      main.writeBigUInt64LE(this.#counts.leafPages, database.leafPages);
      main.writeBigUInt64LE(this.#counts.overflowPages, database.overflowPages);
      main.writeBigUInt64LE(this.#counts.entries, database.entries);
    }
    bytes.writeBigUInt64LE(isEmpty ? 1n : fileBytes / BigInt(PAGE_BYTES) - 1n, meta.lastPage);
    bytes.writeBigUInt64LE(transaction, meta.transaction);
    return bytes;
  }
}

/** The nodes of a page of the tree that is not written yet. */
class OpenPage {
  #nodes: Node[] = [];
  #bytes = PAGE_HEADER;
  #firstKey: Uint8Array = new Uint8Array(0);

  constructor(readonly isBranch: boolean) {}

  /** That of its first node, also after it was laid out: the key of the page in the level above. */
  get firstKey(): Uint8Array {
    return this.#firstKey;
  }

  fits(node: Node): boolean {
    return this.#bytes + 2 + nodeBytes(node) <= PAGE_BYTES;
  }

  add(node: Node): void {
    if (this.#nodes.length === 0) this.#firstKey = node.key;
    // A branch's first key is not looked at and left empty.
    const stored = this.isBranch && this.#nodes.length === 0 ? { ...node, key: new Uint8Array(0) } : node;
    this.#nodes.push(stored);
    this.#bytes += 2 + nodeBytes(stored);
  }

  takeLast(): Node {
    const node = this.#nodes.pop()!;
    this.#bytes -= 2 + nodeBytes(node);
    return node;
  }

  clear(): void {
    this.#nodes = [];
    this.#bytes = PAGE_HEADER;
  }

  layOut(number: bigint): Buffer {
    const bytes = Buffer.alloc(PAGE_BYTES);
    let end = PAGE_BYTES;
    for (const [index, node] of this.#nodes.entries()) {
      end -= nodeBytes(node);
      bytes.writeUInt16LE(end, PAGE_HEADER + 2 * index);
      bytes.writeUInt32LE(node.low, end);
      bytes.writeUInt16LE(node.flags, end + 4);
      bytes.writeUInt16LE(node.key.length, end + 6);
      bytes.set(node.key, end + NODE_HEADER);
      bytes.set(node.data, end + NODE_HEADER + node.key.length);
    }
    bytes.writeBigUInt64LE(number, page.number);
    bytes.writeUInt16LE(this.isBranch ? pageFlags.branch : pageFlags.leaf, page.flags);
    bytes.writeUInt16LE(PAGE_HEADER + 2 * this.#nodes.length, page.freeBegin);
    bytes.writeUInt16LE(end, page.freeEnd);
    return bytes;
  }
}

/** Nodes begin at even offsets. */
function nodeBytes({ key, data }: Node): number {
  return (NODE_HEADER + key.length + data.length + 1) & ~1;
}
