import { UserError } from '../errors.js';
import type { LmdbFile } from '../io/lmdb/read.js';
import { type PickleValue, unpickle } from '../io/pickle.js';
import type { Id, TextRecord } from './dataset.js';
import { isId, type PairRows, type TextReader } from './pairDataset.js';

/** Where the pickle of each pair lies in the file. */
export interface PairPlaces {
  positions: Float64Array;
  lengths: Uint32Array;
}

/** The texts of a `pairs` LMDB, which has no table of them: each is that of its first pair. */
export class LmdbTexts implements TextReader {
  /** @param imageIdOf the image id of a pair */
  constructor(
    private readonly file: LmdbFile,
    private readonly places: PairPlaces,
    private readonly pairs: PairRows & { firstPairs: Int32Array },
    private readonly imageIdOf: (position: number) => Id,
  ) {}

  get textCount(): number {
    return this.pairs.firstPairs.length;
  }

  /** @throws UserError with file and pair where the pickle is damaged */
  read(row: number): { textId: Id; text: string } {
    return readPair(this.file, this.places, this.pairs.firstPairs[row]);
  }

  *readAll(): Generator<TextRecord> {
    // The pairs of a text need not follow each other: they are put in order of their texts.
    const { textRows } = this.pairs;
    const ends = new Int32Array(this.textCount + 1);
    for (const row of textRows) ends[row + 1]++;
    for (let row = 0; row < this.textCount; row++) ends[row + 1] += ends[row];
    const ordered = new Int32Array(textRows.length);
    const next = ends.slice(0, -1);
    for (const [position, row] of textRows.entries()) ordered[next[row]++] = position;
    for (let row = 0; row < this.textCount; row++) {
      const { textId, text } = this.read(row);
      const imageIds = Array.from(ordered.subarray(ends[row], ends[row + 1]), this.imageIdOf);
      yield { textId, text, imageIds };
    }
  }

  close(): void {
    this.file.close();
  }
}

/**
 * A pair as it is stored. Nothing in the pickle is executed: it may hold numbers and strings only.
 *
 * @throws UserError with file and pair where it is damaged or no (image id, text id, text)
 */
export function readPair(
  file: LmdbFile,
  { positions, lengths }: PairPlaces,
  position: number,
): { imageId: Id; textId: Id; text: string } {
  const where = `${file.path}, pair ${position}`;
  const refuse = (): never => {
    throw new UserError(`${where}: expected a pickle of numbers and strings only`);
  };
  const bytes = file.read({ position: positions[position], length: lengths[position] }, where);
  const value: PickleValue = unpickle(bytes, where, { construct: refuse, load: refuse });
  if (Array.isArray(value) && value.length === 3) {
    const [imageId, textId, text] = value;
    if (isId(imageId) && isId(textId) && typeof text === 'string') return { imageId, textId, text };
  }
  throw new UserError(
    `${where}: expected a pickle of (image id, text id, text), ids whole numbers up to 2^53 or strings`,
  );
}
