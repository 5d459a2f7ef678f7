import { UserError } from '../errors.js';
import { readVocabularyFile } from './vocabularyFile.js';
import { splitWords } from './words.js';

/** The reference takes longer words for noise: they become [UNK]. In code points. */
const maxWordLength = 200;

/** A text as the reference's datasets hand it to the tokenizer: lower case, “ and ” straightened. */
export function prepareText(text: string): string {
  return text.toLowerCase().replace(/[“”]/g, '"');
}

/**
 * The tokenizer of a vocab.txt, a tokenizer.json or a folder that holds one.
 *
 * @throws UserError where the file can't be read or isn't the vocabulary of an uncased BERT
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const { file, vocabulary } = readVocabularyFile(path);
  return new Tokenizer(vocabulary, file);
}

/** Token ids of several texts, padded to the longest of them. */
export interface EncodedBatch {
  /** [n, length], row major; what a text leaves free is 0, [PAD] */
  ids: Int32Array;
  n: number;
  /** tokens of the longest text, [CLS] and [SEP] included */
  length: number;
  /** how many texts lost their end because they were longer than contextLength */
  cut: number;
}

/**
 * The reference's tokenizer: BERT word pieces, uncased. A text becomes [CLS], its pieces as far as they fit, [SEP].
 * Special tokens written out in a text ("[SEP]") are ordinary text.
 */
export class Tokenizer {
  /** Pieces by id; joined by line feeds they are the vocab.txt of this tokenizer. */
  readonly vocabulary: readonly string[];
  readonly #ids = new Map<string, number>();
  readonly #longestPiece: number;
  readonly #unknown: number;
  readonly #start: number;
  readonly #end: number;

  /**
   * @param vocabulary pieces by id; spaces around a piece are dropped, and of two equal ones the last counts, as in
   * the reference
   * @param source where it comes from, for error messages
   * @throws UserError where [PAD] isn't piece 0, or [UNK], [CLS] or [SEP] is missing
   */
  constructor(vocabulary: readonly string[], source = 'vocabulary') {
    this.vocabulary = vocabulary.map((piece) => piece.trim());
    this.vocabulary.forEach((piece, id) => {
      this.#ids.set(piece, id);
    });
    this.#longestPiece = this.vocabulary.reduce((longest, { length }) => Math.max(longest, length), 0);
    const special = (name: string) => {
      const id = this.#ids.get(name);
      if (id !== undefined) return id;
      throw new UserError(
        `${source}: has no ${name}; expected a BERT vocabulary with [PAD], [UNK], [CLS], [SEP]`,
      );
    };
    const padding = special('[PAD]');
    if (padding !== 0) {
      throw new UserError(`${source}: [PAD] has id ${padding}; it must be the first piece, with id 0`);
    }
    this.#unknown = special('[UNK]');
    this.#start = special('[CLS]');
    this.#end = special('[SEP]');
  }

  get vocabularySize(): number {
    return this.vocabulary.length;
  }

  /**
   * Token ids of one text: Int32Array [contextLength], zero padded. The text is taken as it is, as by the
   * reference's `tokenize`; see prepareText for captions of a dataset.
   */
  encode(text: string, contextLength: number): Int32Array {
    checkContextLength(contextLength);
    const ids = new Int32Array(contextLength);
    ids.set(this.#tokens(text, contextLength).ids);
    return ids;
  }

  /** Token ids of several texts, as long as the longest of them and contextLength ask for. */
  encodeBatch(texts: readonly string[], contextLength: number): EncodedBatch {
    checkContextLength(contextLength);
    const rows = texts.map((text) => this.#tokens(text, contextLength));
    const length = rows.reduce((longest, { ids }) => Math.max(longest, ids.length), 0);
    const ids = new Int32Array(rows.length * length);
    rows.forEach((row, i) => {
      ids.set(row.ids, i * length);
    });
    return { ids, n: rows.length, length, cut: rows.filter(({ cut }) => cut).length };
  }

  #tokens(text: string, contextLength: number): { ids: number[]; cut: boolean } {
    const ids = [this.#start];
    const room = contextLength - 1;
    for (const word of splitWords(text)) {
      ids.push(...this.#pieces(word));
      if (ids.length > room) break;
    }
    const cut = ids.length > room;
    if (cut) ids.length = room;
    ids.push(this.#end);
    return { ids, cut };
  }

  /** Greedy longest match from the left; a word with a part that no piece covers is [UNK] as a whole. */
  #pieces(word: string): number[] {
    if (isTooLong(word)) return [this.#unknown];
    const ids: number[] = [];
    // UTF-16 units: a piece that ended inside a surrogate pair can't be in a vocabulary read from UTF-8.
    for (let begin = 0; begin < word.length; ) {
      const prefix = begin === 0 ? '' : '##';
      let end = Math.min(word.length, begin + this.#longestPiece);
      while (end > begin && !this.#ids.has(prefix + word.slice(begin, end))) end--;
      if (end === begin) return [this.#unknown];
      ids.push(this.#ids.get(prefix + word.slice(begin, end))!);
      begin = end;
    }
    return ids;
  }
}

function isTooLong(word: string): boolean {
  return word.length > maxWordLength && [...word].length > maxWordLength;
}

function checkContextLength(contextLength: number): void {
  if (Number.isInteger(contextLength) && contextLength >= 2) return;
  throw new UserError(
    `context length ${contextLength}: expected a whole number, at least 2 for [CLS] and [SEP]`,
  );
}
