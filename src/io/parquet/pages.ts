import { messageOf, UserError } from '../../errors.js';
import type { RangedFile } from '../readFile.js';
import type { ColumnChunk } from './footer.js';
import { CompactReader } from './thrift.js';

/** A page of a column as its header describes it. */
export interface Page {
  kind: 'data' | 'data v2' | 'dictionary';
  /** where its bytes lie, after the header */
  offset: number;
  compressedSize: number;
  uncompressedSize: number;
  /** entries, nulls included */
  valueCount: number;
  encoding: number;
  /** of v2: its levels lie before the values, uncompressed */
  definitionBytes: number;
  repetitionBytes: number;
  isCompressed: boolean;
}

/** A page is held in memory as a whole. */
export const MAX_PAGE_BYTES = 1 << 30;
/** A page's entries are known before its bytes are: their number must not fill the memory. */
export const MAX_PAGE_VALUES = 1 << 24;
const HEADER_BYTES = 4096;
/** Headers may hold the smallest and the largest value of their page. */
const MAX_HEADER_BYTES = 16 << 20;
const KINDS = ['data', 'index', 'dictionary', 'data v2'] as const;

/**
 * The pages of a column chunk in order, found by reading their headers alone.
 *
 * @param where file and row group, for error messages
 * @throws UserError where a header is damaged, a page reaches beyond the chunk or is larger than is read, or the pages
 * hold another number of values than the chunk says
 */
export function readPages(file: RangedFile, chunk: ColumnChunk, where: string): Page[] {
  const pages: Page[] = [];
  const end = chunk.offset + chunk.size;
  let values = 0;
  for (let position = chunk.offset; position < end && values < chunk.valueCount; ) {
    const page = readPage(file, position, end, where);
    position = page.offset + page.compressedSize;
    if (page.kind === 'index') continue;
    if (page.kind === 'dictionary' && pages.length > 0)
      throw damaged(where, 'its dictionary is not its first page');
    if (page.kind !== 'dictionary') values += page.valueCount;
    pages.push({ ...page, kind: page.kind });
  }
  if (values !== chunk.valueCount) {
    throw damaged(where, `its pages hold ${values} values, expected ${chunk.valueCount}`);
  }
  return pages;
}

type AnyPage = Omit<Page, 'kind'> & { kind: (typeof KINDS)[number] };

function readPage(file: RangedFile, position: number, end: number, where: string): AnyPage {
  for (let length = HEADER_BYTES; ; length *= 16) {
    const available = Math.min(length, end - position);
    const reader = new CompactReader(Buffer.from(file.read(position, available, where).buffer));
    try {
      const page = parseHeader(reader);
      page.offset = position + reader.position;
      verify(page, end, where);
      return page;
    } catch (error) {
      if (error instanceof UserError) throw error;
      const isCut = error instanceof RangeError && available === length && length < MAX_HEADER_BYTES;
      if (!isCut) throw damaged(where, `the header of its page at ${position}: ${messageOf(error)}`);
    }
  }
}

function parseHeader(reader: CompactReader): AnyPage {
  const page: AnyPage = {
    kind: 'index',
    offset: 0,
    compressedSize: -1,
    uncompressedSize: -1,
    valueCount: -1,
    encoding: -1,
    definitionBytes: 0,
    repetitionBytes: 0,
    isCompressed: true,
  };
  const readCounts = (id: number) => {
    if (id === 1) page.valueCount = reader.integer();
    else if (id === 2) page.encoding = reader.integer();
  };
  reader.struct((id) => {
    if (id === 1) {
      const kind = KINDS[reader.integer()];
      if (kind === undefined) throw new TypeError('an unknown kind of page');
      page.kind = kind;
    } else if (id === 2) page.uncompressedSize = reader.integer();
    else if (id === 3) page.compressedSize = reader.integer();
    else if (id === 5 || id === 7) reader.child(readCounts);
    else if (id === 8) {
      reader.child((field) => {
        if (field === 1) page.valueCount = reader.integer();
        else if (field === 4) page.encoding = reader.integer();
        else if (field === 5) page.definitionBytes = reader.integer();
        else if (field === 6) page.repetitionBytes = reader.integer();
        else if (field === 7) page.isCompressed = reader.boolean();
      });
    }
  });
  return page;
}

function verify(page: AnyPage, end: number, where: string): void {
  const { offset, compressedSize, uncompressedSize, valueCount, definitionBytes, repetitionBytes } = page;
  if (compressedSize < 0 || uncompressedSize < 0 || offset + compressedSize > end) {
    throw damaged(where, 'a page reaches beyond its column');
  }
  if (uncompressedSize > MAX_PAGE_BYTES) {
    throw new UserError(
      `${where}: a page of ${uncompressedSize} bytes; at most 1 GiB is read, write the file with smaller pages or row groups`,
    );
  }
  const levels = definitionBytes + repetitionBytes;
  const sizes = [definitionBytes, repetitionBytes, compressedSize - levels, uncompressedSize - levels];
  if (sizes.some((size) => size < 0)) throw damaged(where, 'a page is smaller than its levels');
  if (page.kind === 'index') return;
  if (valueCount < 0 || valueCount > MAX_PAGE_VALUES) throw damaged(where, `a page of ${valueCount} values`);
}

/** An error of damaged data; `where` is file and row group. */
export function damaged(where: string, what: string): UserError {
  return new UserError(`${where}: damaged, ${what}`);
}
