import { UserError } from '../../errors.js';
import { lastAtMost } from '../lastAtMost.js';
import { RangedFile } from '../readFile.js';
import { type DecodedPage, decodePage } from './decode.js';
import { type ColumnChunk, type ParquetFooter, readFooter, type SchemaNode } from './footer.js';
import { damaged, type Page, readPages } from './pages.js';

/** A column of bytes or text: one value a row, or, where it is a list, any number. */
export interface BytesColumn {
  path: string[];
  /** highest definition level: how many nodes of the path need not be there */
  maxDefinition: number;
  /** 1 for a list, else 0 */
  maxRepetition: number;
}

/** A Parquet file of which columns of bytes are read, a page at a time. */
export class ParquetFile {
  readonly footer: ParquetFooter;
  readonly #file: RangedFile;

  /** @throws UserError as readFooter */
  constructor(readonly path: string) {
    this.#file = new RangedFile(path);
    this.footer = readFooter(this.#file);
  }

  get rowCount(): number {
    return this.footer.rowCount;
  }

  /**
   * The column of bytes or text under a name at the top of the schema: itself, the field `field` of a struct, or the
   * elements of a list.
   *
   * @returns undefined where the name is not there, or holds something else
   */
  column(name: string, field?: string): BytesColumn | undefined {
    let node = this.footer.columns.find((column) => column.name === name);
    const nodes: SchemaNode[] = [];
    while (node !== undefined) {
      nodes.push(node);
      if (node.children.length === 0) break;
      const { children }: SchemaNode = node;
      node = children.length === 1 ? children[0] : children.find((child) => child.name === field);
    }
    const maxRepetition = nodes.filter(({ repetition }) => repetition === 'repeated').length;
    if (node === undefined || !node.isBytes || maxRepetition > 1) return undefined;
    return {
      path: nodes.map((each) => each.name),
      maxDefinition: nodes.filter(({ repetition }) => repetition !== 'required').length,
      maxRepetition,
    };
  }

  /** The values of each row of a column, in order: [] where there is none. Throws as `decode`. */
  *rows(column: BytesColumn): Generator<Uint8Array[]> {
    for (let group = 0; group < this.footer.rowGroups.length; group++) {
      let row: Uint8Array[] | undefined;
      let rows = 0;
      let dictionary: Uint8Array[] | undefined;
      for (const page of this.pages(column, group)) {
        const decoded = this.decode(column, group, page, dictionary);
        if (page.kind === 'dictionary') {
          dictionary = decoded.values;
          continue;
        }
        for (const { startsRow, value } of entries(decoded, page.valueCount, column)) {
          if (startsRow) {
            if (row !== undefined) yield row;
            row = [];
            rows++;
          }
          if (row === undefined) throw damaged(this.#where(group), 'a list without a row');
          if (value !== undefined) row.push(value);
        }
      }
      if (row !== undefined) yield row;
      const expected = this.footer.rowGroups[group].rowCount;
      if (rows !== expected) throw damaged(this.#where(group), `${rows} rows, expected ${expected}`);
    }
  }

  /** The pages of a column in a row group. @throws UserError as readPages */
  pages(column: BytesColumn, group: number): Page[] {
    return readPages(this.#file, this.#chunk(column, group), this.#where(group));
  }

  /** @throws UserError as decodePage */
  decode(column: BytesColumn, group: number, page: Page, dictionary?: readonly Uint8Array[]): DecodedPage {
    const { codec } = this.#chunk(column, group);
    return decodePage(this.#file, page, { ...column, codec }, dictionary, this.#where(group));
  }

  #chunk({ path }: BytesColumn, group: number): ColumnChunk {
    const name = path.join('.');
    const chunk = this.footer.rowGroups[group].chunks.find((each) => each.path.join('.') === name);
    if (chunk === undefined) throw damaged(this.#where(group), `it has no column ${name.slice(0, 200)}`);
    return chunk;
  }

  #where(group: number): string {
    return `${this.path}, row group ${group}`;
  }
}

/** The entries of a page: whether each begins a row, and its value if it holds one. */
function* entries(
  { repetition, definition, values }: DecodedPage,
  count: number,
  { maxDefinition }: BytesColumn,
): Generator<{ startsRow: boolean; value: Uint8Array | undefined }> {
  let next = 0;
  for (let i = 0; i < count; i++) {
    const isThere = definition === undefined || definition[i] === maxDefinition;
    yield {
      startsRow: repetition === undefined || repetition[i] === 0,
      value: isThere ? values[next++] : undefined,
    };
  }
}

/** Bytes of decoded pages that are kept; the page last read is kept whatever its size. */
const CACHE_BYTES = 256 << 20;

/** The value of each entry of a page. */
type PageValues = (Uint8Array | undefined)[];

/** Decoded pages lately read, of any number of files, up to 256 MiB. */
export class PageCache {
  /** oldest first */
  readonly #pages = new Map<string, { values: PageValues; bytes: number }>();
  #bytes = 0;

  /** The page under a name, decoded if it is not kept. `bytes`: its size, roughly. */
  get(name: string, bytes: number, decode: () => PageValues): PageValues {
    const kept = this.#pages.get(name);
    if (kept !== undefined) {
      this.#pages.delete(name);
      this.#pages.set(name, kept);
      return kept.values;
    }
    const values = decode();
    this.#pages.set(name, { values, bytes });
    this.#bytes += bytes;
    for (const [oldest, page] of this.#pages) {
      if (this.#bytes <= CACHE_BYTES || oldest === name) break;
      this.#pages.delete(oldest);
      this.#bytes -= page.bytes;
    }
    return values;
  }
}

/** What an entry takes in memory besides its bytes. */
const ENTRY_BYTES = 100;

/** Reads values of a column with one value a row by their row. */
export class RowReader {
  /** first row of each row group */
  readonly #groupStarts: number[] = [];
  readonly #pages = new Map<number, Page[]>();

  /** @throws UserError where the column is a list */
  constructor(
    readonly file: ParquetFile,
    readonly column: BytesColumn,
    private readonly cache: PageCache = new PageCache(),
  ) {
    if (column.maxRepetition > 0) {
      throw new UserError(`${file.path}: column ${column.path[0]} is a list, expected one value a row`);
    }
    let start = 0;
    for (const { rowCount } of file.footer.rowGroups) {
      this.#groupStarts.push(start);
      start += rowCount;
    }
  }

  /**
   * The value of a row in [0, rowCount), undefined where it has none: a view of its page.
   *
   * @throws UserError as ParquetFile.decode
   */
  read(row: number): Uint8Array | undefined {
    const group = lastAtMost(this.#groupStarts, row);
    const pages = this.#groupPages(group);
    let first = this.#groupStarts[group];
    for (const page of pages) {
      if (page.kind === 'dictionary') continue;
      if (row < first + page.valueCount) return this.#values(group, page, pages)[row - first];
      first += page.valueCount;
    }
    throw damaged(this.file.path, `row group ${group} has fewer values than rows`);
  }

  #groupPages(group: number): Page[] {
    let pages = this.#pages.get(group);
    if (pages === undefined) {
      pages = this.file.pages(this.column, group);
      this.#pages.set(group, pages);
    }
    return pages;
  }

  #values(group: number, page: Page, pages: readonly Page[]): PageValues {
    const bytes = page.uncompressedSize + page.valueCount * ENTRY_BYTES;
    return this.cache.get(`${this.file.path} ${page.offset}`, bytes, () => {
      const hasDictionary = pages[0].kind === 'dictionary' && page !== pages[0];
      const dictionary = hasDictionary ? (this.#values(group, pages[0], pages) as Uint8Array[]) : undefined;
      const decoded = this.file.decode(this.column, group, page, dictionary);
      return Array.from(entries(decoded, page.valueCount, this.column), ({ value }) => value);
    });
  }
}
