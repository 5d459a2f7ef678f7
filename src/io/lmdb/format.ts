/**
 * The file format of LMDB 0.9 (data version 1) on 64-bit little-endian systems: a B+ tree of pages of one size. Numbers
 * are unsigned. Pages 0 and 1 are meta pages, of which the one with the newer transaction counts.
 *
 * Page: number u64, padding u16, flags u16, then where the free space of a tree's page begins and ends as two u16, or
 * the number of pages of an overflow value as u32. A tree's page has u16 offsets of its nodes, in order of their keys.
 *
 * Node: size of the value u32 (of a branch: the lower 32 bits of the child's page), flags u16 (the upper 16 bits), size
 * of the key u16, key, value. The key of a branch's first node is not looked at: it is lower than all.
 */

export const PAGE_HEADER = 16;
export const NODE_HEADER = 8;

/** Offsets in a page. */
export const page = { number: 0, flags: 10, freeBegin: 12, freeEnd: 14, overflowPages: 12 } as const;

/** Kinds of pages. */
export const pageFlags = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const;

/** What a leaf's node holds: the number of an overflow page, or a part of what only other programs use. */
export const nodeFlags = { overflow: 1, database: 2, duplicates: 4 } as const;

/** Offsets in a meta page. Two databases are described, of free pages and of keys: each page size or padding u32, … */
export const meta = {
  magic: 16,
  version: 20,
  mapSize: 32,
  /** of all pages: a field of the free pages' description */
  pageSize: 40,
  freePages: 40,
  main: 88,
  lastPage: 136,
  transaction: 144,
  end: 152,
} as const;

/** Offsets in the description of a database. */
export const database = {
  flags: 4,
  depth: 6,
  branchPages: 8,
  leafPages: 16,
  overflowPages: 24,
  entries: 32,
  root: 40,
} as const;

export const MAGIC = 0xbeefc0de;
export const VERSION = 1;
/** The root of an empty tree. */
export const NO_PAGE = 2n ** 64n - 1n;
/** Deeper trees are not walked by LMDB either. */
export const MAX_DEPTH = 32;
export const MAX_KEY_BYTES = 511;

/** Above this many bytes a node's value moves to overflow pages: two nodes must fit into a page. */
export function maxNodeBytes(pageSize: number): number {
  return (((pageSize - PAGE_HEADER) >> 1) & ~1) - 2;
}
