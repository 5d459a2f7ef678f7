import { closeSync, readSync } from 'node:fs';
import { UserError } from '../errors.js';
import { openForReading } from './readFile.js';

/** A row of a table: its fields, and the line on which it starts (from 1), for error messages. */
export interface CsvRow {
  fields: string[];
  line: number;
}

const CHUNK_BYTES = 1 << 20;
/** No honest row is longer; a quote that is never closed must not fill the memory. */
const MAX_ROW_CHARACTERS = 1 << 20;

/**
 * The rows of a CSV file (RFC 4180, UTF-8, with or without a byte order mark), read in chunks. A field in quotes may
 * hold delimiters, line breaks and doubled quotes; other fields stand for themselves. Lines end with \n or \r\n; empty
 * lines are passed over.
 *
 * @param delimiter a comma, or a TAB for tab-separated values, to which the same rules apply
 * @throws UserError with file and line for what is no UTF-8, a quote that is not closed, text after a closing quote, or
 * a row of more than a million characters
 */
export function* readCsv(path: string, delimiter: ',' | '\t' = ','): Generator<CsvRow> {
  const special = new RegExp(`["${delimiter}\\r\\n]`, 'g');
  let row: string[] = [];
  let rowLine = 1;
  let line = 1;
  let field = '';
  let rowLength = 0;
  /** start of a field, in an unquoted one, in a quoted one, or after the quote that may have closed it */
  let state: 'start' | 'plain' | 'quoted' | 'closed' = 'start';
  const fail = (what: string) => new UserError(`${path}, line ${rowLine}: ${what}`);
  const add = (text: string) => {
    rowLength += text.length;
    if (rowLength > MAX_ROW_CHARACTERS) {
      throw fail('the row has more than a million characters; is a quote not closed?');
    }
    field += text;
  };
  const endField = () => {
    add('');
    row.push(field);
    field = '';
    rowLength++;
    state = 'start';
  };
  for (const chunk of readText(path, () => line)) {
    for (let at = 0; at < chunk.length; ) {
      if (state === 'quoted') {
        const quote = chunk.indexOf('"', at);
        const end = quote === -1 ? chunk.length : quote;
        const text = chunk.slice(at, end);
        add(text);
        line += lineFeeds(text);
        at = end + 1;
        if (quote !== -1) state = 'closed';
        continue;
      }
      special.lastIndex = at;
      const found = special.exec(chunk);
      const end = found?.index ?? chunk.length;
      if (end > at) {
        const text = chunk.slice(at, end);
        if (state === 'closed')
          throw fail(`text after a closing quote: ${JSON.stringify(text.slice(0, 20))}`);
        add(text);
        state = 'plain';
      }
      at = end + 1;
      const character = found?.[0];
      if (character === undefined) continue;
      if (character === '"') {
        if (state === 'start') state = 'quoted';
        else {
          // A doubled quote inside of a quoted field; a quote in the middle of a plain one is itself.
          add('"');
          if (state === 'closed') state = 'quoted';
        }
      } else if (character === delimiter) endField();
      else if (character === '\n') {
        if (state !== 'start' || row.length > 0) {
          endField();
          yield { fields: row, line: rowLine };
        }
        row = [];
        rowLength = 0;
        rowLine = ++line;
      } else if (chunk[at] !== '\n') {
        throw fail('a carriage return in the middle of a line; quote the field, or end lines with \\n');
      }
    }
  }
  if (state === 'quoted') throw fail('a quote is not closed before the end of the file');
  if (state !== 'start' || row.length > 0) {
    endField();
    yield { fields: row, line: rowLine };
  }
}

function lineFeeds(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/** A file's text in chunks, never cut between \r and \n. */
function* readText(path: string, line: () => number): Generator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const bytes = Buffer.alloc(CHUNK_BYTES);
  const file = openForReading(path);
  try {
    let held = '';
    for (let end = false; !end; ) {
      const length = readSync(file, bytes, 0, CHUNK_BYTES, null);
      end = length === 0;
      let text: string;
      try {
        text = held + decoder.decode(bytes.subarray(0, length), { stream: !end });
      } catch {
        throw new UserError(`${path}, at or after line ${line()}: not UTF-8; save the table as UTF-8`);
      }
      held = !end && text.endsWith('\r') ? '\r' : '';
      yield text.slice(0, text.length - held.length);
    }
  } finally {
    closeSync(file);
  }
}
