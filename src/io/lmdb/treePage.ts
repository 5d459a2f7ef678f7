import type { UserError } from '../../errors.js';
import { NODE_HEADER, nodeFlags, PAGE_HEADER, page } from './format.js';

/** A branch or a leaf of the tree. Its nodes are checked to lie inside of it when they are asked for. */
export class TreePage {
  readonly nodeCount: number;

  /**
   * @param bytes of the whole page
   * @param damaged the error that says what is wrong with the page
   * @throws that error, as all methods do
   */
  constructor(
    readonly bytes: Buffer,
    readonly number: bigint,
    readonly damaged: (what: string) => UserError,
  ) {
    const freeBegin = bytes.readUInt16LE(page.freeBegin);
    const freeEnd = bytes.readUInt16LE(page.freeEnd);
    const isWhole =
      freeBegin > PAGE_HEADER && freeBegin % 2 === 0 && freeBegin <= freeEnd && freeEnd <= bytes.length;
    if (!isWhole) throw damaged('its free space lies outside of it');
    this.nodeCount = (freeBegin - PAGE_HEADER) >> 1;
  }

  /** The key of a node: a view of the page. */
  key(index: number): Buffer {
    const node = this.#node(index);
    return this.#inside(node + NODE_HEADER, this.bytes.readUInt16LE(node + 6));
  }

  /** Of a branch's node: the number of the page below. */
  child(index: number): bigint {
    const node = this.#node(index);
    return BigInt(this.bytes.readUInt32LE(node)) | (BigInt(this.bytes.readUInt16LE(node + 4)) << 32n);
  }

  /** Of a leaf's node: its flags, the value's length, and where in the page it (or the overflow page's number) is. */
  value(index: number): { flags: number; length: number; offset: number } {
    const node = this.#node(index);
    const flags = this.bytes.readUInt16LE(node + 4);
    const length = this.bytes.readUInt32LE(node);
    const offset = node + NODE_HEADER + this.bytes.readUInt16LE(node + 6);
    this.#inside(offset, (flags & nodeFlags.overflow) === 0 ? length : 8);
    return { flags, length, offset };
  }

  /** Of a leaf's node whose value does not lie in it: the number of the page where the value begins. */
  overflow(index: number): bigint {
    return this.bytes.readBigUInt64LE(this.value(index).offset);
  }

  #node(index: number): number {
    const node = this.bytes.readUInt16LE(PAGE_HEADER + 2 * index);
    this.#inside(node, NODE_HEADER);
    return node;
  }

  #inside(offset: number, length: number): Buffer {
    if (offset < PAGE_HEADER + 2 * this.nodeCount || offset + length > this.bytes.length) {
      throw this.damaged('a node lies outside of it');
    }
    return this.bytes.subarray(offset, offset + length);
  }
}
