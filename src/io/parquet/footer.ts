import { messageOf, UserError } from '../../errors.js';
import type { RangedFile } from '../readFile.js';
import { CompactReader } from './thrift.js';

/** What a Parquet file says of itself, of which only that is kept which reading columns of bytes needs. */
export interface ParquetFooter {
  /** the columns at the top of the schema */
  columns: SchemaNode[];
  rowGroups: RowGroup[];
  rowCount: number;
}

export interface SchemaNode {
  name: string;
  repetition: 'required' | 'optional' | 'repeated';
  /** whether it holds bytes or text; false for numbers and for groups */
  isBytes: boolean;
  /** of a group; empty for a leaf */
  children: SchemaNode[];
}

export interface RowGroup {
  rowCount: number;
  chunks: ColumnChunk[];
}

/** Where the pages of one column of a row group lie. */
export interface ColumnChunk {
  /** names from the top of the schema to the leaf */
  path: string[];
  codec: number;
  valueCount: number;
  offset: number;
  /** in bytes, page headers included */
  size: number;
}

const MAGIC = 'PAR1';
const ENCRYPTED = 'PARE';
/** Footers have some hundred bytes for each column of each row group. */
const MAX_FOOTER_BYTES = 64 << 20;
const MAX_NODES = 10_000;
const MAX_DEPTH = 16;
/** Rows are counted in 32 bits. */
const MAX_ROWS = 2 ** 31 - 1;
/** the physical type of bytes and text */
const BYTE_ARRAY = 6;
const REPETITIONS = ['required', 'optional', 'repeated'] as const;

/**
 * Reads the footer of a Parquet file.
 *
 * Format: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 *
 * @throws UserError naming the file where it is no Parquet file, encrypted, cut off or damaged
 */
export function readFooter(file: RangedFile): ParquetFooter {
  const { path, size } = file;
  const isParquet = size >= 12 && latin1(file.read(0, 4)) === MAGIC;
  const tail = Buffer.from(file.read(Math.max(0, size - 8), Math.min(8, size)));
  if (tail.toString('latin1', 4) === ENCRYPTED) throw new UserError(`${path}: encrypted files can't be read`);
  if (!isParquet || tail.toString('latin1', 4) !== MAGIC) {
    throw new UserError(`${path}: no Parquet file, or cut off (it should begin and end with ${MAGIC})`);
  }
  const length = tail.readUInt32LE(0);
  if (length > Math.min(size - 12, MAX_FOOTER_BYTES)) {
    throw new UserError(
      `${path}: damaged, its footer of ${length} bytes does not fit (at most 64 MiB are read)`,
    );
  }
  const dataEnd = size - 8 - length;
  try {
    const footer = parseFooter(Buffer.from(file.read(dataEnd, length)));
    verify(footer, dataEnd);
    return footer;
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${path}: its footer is damaged (${messageOf(error)})`);
  }
}

function parseFooter(bytes: Buffer): ParquetFooter {
  const elements: SchemaElement[] = [];
  const rowGroups: RowGroup[] = [];
  let rowCount = -1;
  const reader = new CompactReader(bytes);
  reader.struct((id) => {
    if (id === 2) reader.list(() => elements.push(readElement(reader)));
    else if (id === 3) rowCount = reader.integer();
    else if (id === 4) reader.list(() => rowGroups.push(readRowGroup(reader)));
  });
  if (elements.length === 0 || elements.length > MAX_NODES) throw new Error(`${elements.length} columns`);
  const next = { index: 0 };
  const root = buildTree(elements, next, 0);
  if (next.index !== elements.length) throw new Error('columns outside of the schema');
  return { columns: root.children, rowGroups, rowCount };
}

interface SchemaElement extends Omit<SchemaNode, 'children'> {
  childCount: number;
}

function readElement(reader: CompactReader): SchemaElement {
  const element: SchemaElement = { name: '', repetition: 'required', isBytes: false, childCount: 0 };
  reader.child((id) => {
    if (id === 1) element.isBytes = reader.integer() === BYTE_ARRAY;
    else if (id === 3) {
      const repetition = REPETITIONS[reader.integer()];
      if (repetition === undefined) throw new Error('an unknown repetition');
      element.repetition = repetition;
    } else if (id === 4) element.name = reader.text();
    else if (id === 5) element.childCount = reader.integer();
  });
  return element;
}

/** The schema is written depth first, each group with the number of its children. */
function buildTree(elements: readonly SchemaElement[], next: { index: number }, depth: number): SchemaNode {
  const element = elements[next.index++];
  if (element === undefined || depth > MAX_DEPTH) throw new Error('a schema that is cut off or too deep');
  const { name, repetition, childCount } = element;
  const children: SchemaNode[] = [];
  for (let i = 0; i < childCount; i++) children.push(buildTree(elements, next, depth + 1));
  return { name, repetition, isBytes: element.isBytes && childCount === 0, children };
}

function readRowGroup(reader: CompactReader): RowGroup {
  const group: RowGroup = { rowCount: -1, chunks: [] };
  reader.child((id) => {
    if (id === 1) reader.list(() => group.chunks.push(readChunk(reader)));
    else if (id === 3) group.rowCount = reader.integer();
  });
  return group;
}

function readChunk(reader: CompactReader): ColumnChunk {
  const chunk: ColumnChunk = { path: [], codec: -1, valueCount: -1, offset: -1, size: -1 };
  let dictionary: number | undefined;
  reader.child((id) => {
    if (id === 1) throw new Error('columns in another file');
    if (id !== 3) return;
    reader.child((field) => {
      if (field === 3) reader.list(() => chunk.path.push(reader.text()));
      else if (field === 4) chunk.codec = reader.integer();
      else if (field === 5) chunk.valueCount = reader.integer();
      else if (field === 7) chunk.size = reader.integer();
      else if (field === 9) chunk.offset = reader.integer();
      else if (field === 11) dictionary = reader.integer();
    });
  });
  // The dictionary comes before the pages that refer to it; some writers leave 0 where there is none.
  if (dictionary !== undefined && dictionary > 0) chunk.offset = Math.min(chunk.offset, dictionary);
  return chunk;
}

function verify({ rowGroups, rowCount }: ParquetFooter, dataEnd: number): void {
  let sum = 0;
  for (const group of rowGroups) {
    if (group.rowCount < 0) throw new Error('a row group without a count');
    sum += group.rowCount;
    for (const { offset, size, valueCount } of group.chunks) {
      if (offset < 4 || size < 0 || offset + size > dataEnd || valueCount < 0) {
        throw new Error('a column lies outside of the file');
      }
    }
  }
  if (sum !== rowCount) throw new Error(`${rowCount} rows in all, ${sum} in its row groups`);
  if (rowCount > MAX_ROWS) throw new Error(`${rowCount} rows are more than can be counted here`);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
