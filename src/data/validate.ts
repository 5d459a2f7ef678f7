import { UserError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { prepareText } from '../text/tokenizer.js';
import { Growing } from './growing.js';
import { HashTable, hashText } from './hashTable.js';
import { ImageWorkerPool } from './imageWorkerPool.js';
import { type ProblemList, Problems } from './problems.js';
import type { SplitContent } from './splitContent.js';

export interface ValidateOptions {
  /** undefined: lengths of texts are not counted */
  tokenizer?: Pick<Tokenizer, 'encodeBatch'>;
  /** tokens a text, [CLS] and [SEP] included */
  contextLength: number;
  /** threads that read and decode pictures */
  workers: number;
  /** whether pictures are decoded; else they are only read, for their hashes */
  decode: boolean;
  onProgress: (done: number, total: number) => void;
}

/** What was found in a split. */
export interface SplitReport {
  images: number;
  texts: number;
  /** image ids in texts that an image has */
  pairs: number;
  /** images by the number of texts that name them: [texts, images], by texts */
  textsPerImage: [number, number][];
  /** texts by their number of tokens, [CLS] and [SEP] included: [tokens, texts], by tokens */
  tokenLengths?: [number, number][];
  problems: ProblemList[];
  isClean: boolean;
}

/** Texts are counted to this length; longer ones count as this long. */
const MAX_TOKENS = 1024;
/** Pictures that a worker checks at a time. */
const ROWS_AT_ONCE = 16;

/** Rows by what must not occur twice, to tell where it occurred first. */
class FirstRows {
  readonly #table = new HashTable();
  readonly #rows = new Growing((length) => new Int32Array(length));

  /** The row of the same thing before, or undefined if it is new. */
  add(hash: { high: number; low: number }, row: number): number | undefined {
    const number = this.#table.add(hash);
    if (number < this.#rows.length) return this.#rows.at(number);
    this.#rows.push(row);
    return undefined;
  }

  find(hash: { high: number; low: number }): number | undefined {
    const number = this.#table.find(hash);
    return number === undefined ? undefined : this.#rows.at(number);
  }
}

/**
 * Checks a split row by row and goes on after problems: ids, fields, that each image that a text names is there, and
 * that every picture can be decoded. Memory is some 100 bytes a row, whatever its content.
 *
 * @param problems those found before, such as a missing file
 */
export async function validateSplit(
  content: SplitContent,
  options: ValidateOptions,
  problems = new Problems(),
): Promise<SplitReport> {
  const images = content.images && checkImageIds(content.images, problems);
  const texts = content.texts && checkTexts(content.texts, images, options, problems);
  if (images !== undefined && texts !== undefined) {
    for (const [row, count] of texts.textsOfImage.entries()) {
      if (count === 0 && images.readable[row] === 1) {
        problems.add('imageWithoutText', `${content.images!.where(row)}: no text names the image`);
      }
    }
  }
  if (content.images !== undefined) await checkPictures(content.images, images!.readable, options, problems);
  return {
    images: content.images?.count ?? 0,
    texts: content.texts?.count ?? 0,
    pairs: texts?.pairs ?? 0,
    textsPerImage: images && texts ? histogram(texts.textsOfImage) : [],
    tokenLengths: texts?.lengths && histogramOf(texts.lengths),
    problems: problems.lists(),
    isClean: problems.isClean,
  };
}

function checkImageIds(images: NonNullable<SplitContent['images']>, problems: Problems) {
  const firstRows = new FirstRows();
  /** 1 where the id could be read */
  const readable = new Uint8Array(images.count);
  for (let row = 0; row < images.count; row++) {
    const id = attempt(() => images.id(row));
    if (id instanceof UserError) {
      problems.add('imageLine', id.message);
      continue;
    }
    readable[row] = 1;
    const earlier = firstRows.add(hashText(id), row);
    if (earlier !== undefined) {
      problems.add(
        'imageId',
        `${images.where(row)}: image ${id} occurred before, in ${images.where(earlier)}`,
      );
    }
  }
  return { firstRows, readable };
}

function checkTexts(
  texts: NonNullable<SplitContent['texts']>,
  images: ReturnType<typeof checkImageIds> | undefined,
  { tokenizer, contextLength }: ValidateOptions,
  problems: Problems,
) {
  const ids = new FirstRows();
  const contents = new FirstRows();
  const textsOfImage = new Int32Array(images?.readable.length ?? 0);
  const lengths = tokenizer && new Float64Array(MAX_TOKENS + 1);
  let pairs = 0;
  let row = -1;
  for (const record of texts.records()) {
    row++;
    if (record instanceof UserError) {
      problems.add('textLine', record.message);
      continue;
    }
    const { textId, text, imageIds } = record;
    const where = texts.where(row);
    // Quotes keep the number 1 and the string "1" apart, as opening does.
    const earlierId = ids.add(hashText(JSON.stringify(textId)), row);
    if (earlierId !== undefined) {
      problems.add('textId', `${where}: text ${textId} occurred before, in ${texts.where(earlierId)}`);
    }
    if (imageIds.length === 0) problems.add('textWithoutImage', `${where}: text ${textId}`);
    const named = new Set<string>();
    for (const id of images === undefined ? [] : imageIds.map(String)) {
      const imageRow = images!.firstRows.find(hashText(id));
      if (imageRow === undefined) {
        problems.add('join', `${where}: image ${id} of text ${textId} is not there`);
        continue;
      }
      if (named.has(id)) problems.add('samePair', `${where}: text ${textId} names image ${id} twice`);
      named.add(id);
      pairs++;
      textsOfImage[imageRow]++;
    }
    const prepared = prepareText(text);
    if (prepared.trim() === '') problems.add('emptyText', `${where}: text ${textId}`);
    const earlier = contents.add(hashText(prepared), row);
    if (earlier !== undefined) {
      problems.add('sameText', `${where}: text ${textId} is the same as in ${texts.where(earlier)}`);
    }
    if (tokenizer !== undefined && lengths !== undefined) {
      const { length } = tokenizer.encodeBatch([prepared], Math.max(MAX_TOKENS, contextLength));
      lengths[Math.min(length, MAX_TOKENS)]++;
      if (length > contextLength) {
        problems.add('cutText', `${where}: text ${textId} has ${length} tokens, ${contextLength} are kept`);
      }
    }
  }
  return { textsOfImage, lengths, pairs };
}

async function checkPictures(
  images: NonNullable<SplitContent['images']>,
  readable: Uint8Array,
  { workers, decode, onProgress }: ValidateOptions,
  problems: Problems,
): Promise<void> {
  const rows = Int32Array.from(readable.keys()).filter((row) => readable[row] === 1);
  const contents = new FirstRows();
  const pool = new ImageWorkerPool(workers, { source: images.source, resolution: 0 });
  try {
    const step = ROWS_AT_ONCE * workers;
    const check = (start: number) => {
      const checking = pool.check(rows.slice(start, start + step), decode);
      // Looked at in its turn; an error before must not leave it unseen.
      checking.catch(() => {});
      return checking;
    };
    let checking = check(0);
    for (let start = 0; start < rows.length; start += step) {
      const { hashes, failures } = await checking;
      // The workers go on while the results are looked at.
      checking = check(start + step);
      for (const [place, row] of rows.subarray(start, start + step).entries()) {
        const failure = failures.get(place);
        if (failure !== undefined) problems.add('picture', failure);
        if (hashes[2 * place] === 0 && hashes[2 * place + 1] === 0) continue;
        const earlier = contents.add({ high: hashes[2 * place], low: hashes[2 * place + 1] }, row);
        if (earlier === undefined) continue;
        problems.add('samePicture', `${images.where(row)}: the same bytes as in ${images.where(earlier)}`);
      }
      onProgress(Math.min(start + step, rows.length), rows.length);
    }
  } finally {
    await pool.close();
  }
}

function attempt<T>(read: () => T): T | UserError {
  try {
    return read();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

/** How often each value occurs, by value. */
function histogram(values: Int32Array): [number, number][] {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => a - b);
}

/** Counts by their index, without the zeros. */
function histogramOf(counts: Float64Array): [number, number][] {
  return [...counts.entries()].filter(([, count]) => count > 0);
}
