import { messageOf, UserError } from '../errors.js';
import { parseJson } from '../io/json.js';
import { OpenFiles } from '../io/openFiles.js';
import { readFully } from '../io/readFile.js';
import { captionNames, captionsOf, chooseColumn, decodeCaption } from './captionValue.js';
import type { TextRecord } from './dataset.js';
import { rowIn } from './groups.js';
import { type KeyTable, keyOf } from './keyTable.js';
import type { TextReader } from './pairDataset.js';

/** Where the captions of samples lie. */
export interface TarTextPlaces {
  paths: string[];
  /** first row of each shard */
  rowStarts: Int32Array;
  offsets: Float64Array;
  sizes: Float64Array;
  /** 1 where it is a .json */
  isJson: Uint8Array;
  keys: KeyTable;
  /** of a .json; by default the first of the usual names */
  field: string | undefined;
}

const MAX_BYTES = 1 << 20;

/** Captions that are members of tar archives, read by their offset. Each text has its sample's id. */
export class TarTexts implements TextReader {
  readonly #files = new OpenFiles();

  constructor(private readonly places: TarTextPlaces) {}

  get textCount(): number {
    return this.places.offsets.length;
  }

  /** @throws UserError naming shard, offset and key where the caption is damaged, or has no such field */
  read(row: number): { textId: string; text: string } {
    const { paths, rowStarts, offsets, sizes, isJson, keys, field } = this.places;
    const path = paths[rowIn(rowStarts, row).group];
    const textId = keyOf(keys, row);
    const where = `${path}, offset ${offsets[row]}, caption of ${textId}`;
    if (sizes[row] > MAX_BYTES) throw new UserError(`${where}: ${sizes[row]} bytes; at most 1 MiB is read`);
    const bytes = Buffer.allocUnsafe(sizes[row]);
    readFully(this.#files.get(path), offsets[row], bytes, where);
    const text = isJson[row] === 1 ? captionIn(bytes, field, where) : decodeCaption(bytes, where).trim();
    return { textId, text };
  }

  *readAll(): Generator<TextRecord> {
    for (let row = 0; row < this.textCount; row++) {
      const { textId, text } = this.read(row);
      yield { textId, text, imageIds: [textId] };
    }
  }

  close(): void {
    this.#files.close();
  }
}

function captionIn(bytes: Buffer, field: string | undefined, where: string): string {
  let value: unknown;
  try {
    value = parseJson(bytes);
  } catch (error) {
    throw new UserError(`${where}: expected a JSON object (${messageOf(error)})`);
  }
  const fields = Object(value) as Record<string, unknown>;
  const captions = captionsOf(
    fields[chooseColumn('text', field, captionNames, Object.keys(fields), where)],
    where,
  );
  if (captions.length === 1) return captions[0];
  throw new UserError(`${where}: a list of ${captions.length} captions; a sample has one`);
}
