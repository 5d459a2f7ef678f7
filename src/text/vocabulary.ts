import { UserError } from '../errors.js';
import { isWordByItself, splitWords } from './words.js';

const specialTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/**
 * A WordPiece vocabulary in which no word of the given texts is [UNK]: the special tokens, every character seen
 * (ideographs and punctuation as they are, others also as `##` continuation), then whole words, the most frequent
 * first.
 *
 * @param texts as the tokenizer will see them (a data set's captions after prepareText)
 * @param options.maxSize pieces at most; words beyond it are spelled with the characters
 * @param options.minFrequency occurrences that a whole word needs; characters are kept from the first
 * @returns the pieces by id, the same for the same texts
 * @throws UserError where the characters alone are more than maxSize
 */
export function buildVocabulary(
  texts: Iterable<string>,
  { maxSize, minFrequency }: { maxSize: number; minFrequency: number },
): string[] {
  const characters = new Set<string>();
  const frequencies = new Map<string, number>();
  for (const text of texts) {
    for (const word of splitWords(text)) {
      const count = frequencies.get(word) ?? 0;
      if (count === 0) for (const character of word) characters.add(character);
      frequencies.set(word, count + 1);
    }
  }
  const pieces = [...specialTokens, ...[...characters].sort(byCodeUnit).flatMap(characterPieces)];
  if (pieces.length > maxSize) {
    throw new UserError(
      `the texts hold ${characters.size} different characters, which take ${pieces.length} pieces: ` +
        `raise maxSize (${maxSize}) to at least that`,
    );
  }
  const words = [...frequencies]
    .filter(([word, count]) => count >= minFrequency && !characters.has(word))
    .sort(([a, countA], [b, countB]) => countB - countA || byCodeUnit(a, b))
    .slice(0, maxSize - pieces.length);
  return [...pieces, ...words.map(([word]) => word)];
}

function characterPieces(character: string): string[] {
  return isWordByItself(character) ? [character] : [character, `##${character}`];
}

/** By UTF-16 units, independent of the locale. */
function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
