import { createHash } from 'node:crypto';
import { UserError } from '../errors.js';
import { RangedFile } from '../io/readFile.js';

/** Links of a node of the graph on each level above the lowest, which has twice as many. */
export const LINKS = 16;

const LOWEST_LINKS = 2 * LINKS;
/** Of HNSW with 16 links: a level more holds a sixteenth of the nodes. */
const MAX_LEVEL = 32;
/** usearch's codes of what the file holds: inner product, int8, 64-bit keys, 32-bit links. */
const KINDS = Buffer.from([0x69, 0x17, 0x0e, 0x0f]);
const PART = 1 << 26;

/**
 * The SHA-256 of a graph that usearch has written.
 *
 * usearch believes what a file states: damaged ones were seen to end the process. So everything that it follows is checked
 * here before: sizes, levels, links and keys. The vectors (int8, [pictures, dimension]) can be anything; that they are
 * those of the index only the checksum tells. Format of usearch 2.26: rows and their bytes (uint32), vectors, a head of 64
 * bytes, the five numbers of the graph (uint64), the level of each node (int16), the nodes.
 *
 * @throws UserError where the file is no graph of so many pictures
 */
export function checkGraphFile(path: string, pictures: number, dimension: number): string {
  const file = new RangedFile(path);
  const hash = createHash('sha256');
  const refuse = (found: string): never => {
    throw new UserError(`${path}: damaged (${found}): make the index again, or search with --search exact`);
  };
  const vectorsEnd = 8 + pictures * dimension;
  if (file.size < vectorsEnd + 104 + 2 * pictures) {
    refuse(`${file.size} bytes are too few for ${pictures} pictures of dimension ${dimension}`);
  }
  const size = file.read(0, 8);
  const sizes = new DataView(size.buffer);
  if (sizes.getUint32(0, true) !== pictures || sizes.getUint32(4, true) !== dimension) {
    refuse(`it states ${sizes.getUint32(0, true)} pictures of dimension ${sizes.getUint32(4, true)}`);
  }
  for (let at = 0; at < vectorsEnd; at += PART) hash.update(file.read(at, Math.min(PART, vectorsEnd - at)));
  const graph = file.read(vectorsEnd, file.size - vectorsEnd);
  checkGraph(graph, pictures, dimension, refuse);
  return hash.update(graph).digest('hex');
}

/** @param graph the file from the head on */
function checkGraph(
  graph: Uint8Array<ArrayBuffer>,
  pictures: number,
  dimension: number,
  refuse: (found: string) => never,
): void {
  const view = new DataView(graph.buffer);
  const number = (at: number) => Number(view.getBigUint64(at, true));
  const isOurs =
    Buffer.from(graph.subarray(0, 7)).toString('latin1') === 'usearch' &&
    KINDS.equals(graph.subarray(13, 17)) &&
    // nodes, of which none is deleted, and their dimension; one vector a key
    number(17) === pictures &&
    number(25) === 0 &&
    number(33) === dimension &&
    graph[41] === 0 &&
    number(64) === pictures &&
    number(72) === LINKS &&
    number(80) === LOWEST_LINKS;
  if (!isOurs) refuse('its head is not what cn-clip index writes');
  const maxLevel = number(88);
  const entry = number(96);
  const levels = 104;
  const level = (node: number) => view.getInt16(levels + 2 * node, true);
  if (maxLevel > MAX_LEVEL || entry >= pictures || level(entry) !== maxLevel) refuse(`it begins at ${entry}`);
  const seen = new Uint8Array(pictures);
  let at = levels + 2 * pictures;
  for (let node = 0; node < pictures; node++) {
    const top = level(node);
    const end = at + 10 + 4 * (1 + LOWEST_LINKS + top * (1 + LINKS));
    if (top < 0 || top > maxLevel || end > graph.length) refuse(`node ${node} has level ${top}`);
    const key = number(at);
    if (key >= pictures || seen[key] === 1) refuse(`node ${node} is picture ${key}`);
    seen[key] = 1;
    if (view.getInt16(at + 8, true) !== top) refuse(`node ${node} has two levels`);
    at += 10;
    for (let on = 0; on <= top; on++) {
      const room = on === 0 ? LOWEST_LINKS : LINKS;
      const links = view.getUint32(at, true);
      if (links > room) refuse(`node ${node} has ${links} links`);
      for (let i = 1; i <= links; i++) {
        const other = view.getUint32(at + 4 * i, true);
        if (other >= pictures || level(other) < on) refuse(`node ${node} has a link to ${other}`);
      }
      at += 4 * (1 + room);
    }
  }
  if (at !== graph.length) refuse(`${graph.length - at} bytes are left over`);
}
