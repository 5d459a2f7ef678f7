/** Control and format characters, and U+FFFD; tab, line feed and carriage return count as spaces instead. */
const removed = /(?![\t\n\r])[\p{Cc}\p{Cf}\ufffd]/gu;

const accents = /\p{Mn}/gu;

/** BERT's "Chinese characters": the blocks of unified and compatibility ideographs it knew in 2018. */
const ideographs =
  '\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}';

/** Unicode punctuation, and every ASCII character that is neither letter, digit nor space. */
const punctuation = '!-\\/:-@\\[-`\\{-~\\p{P}';

const word = new RegExp(`[${ideographs}${punctuation}]|[^\\s${ideographs}${punctuation}]+`, 'gu');
const standsAlone = new RegExp(`^[${ideographs}${punctuation}]$`, 'u');

/**
 * The words of a text as the reference's BERT tokenizer (uncased) finds them before it cuts them into word pieces:
 * control characters removed, lower case, accents stripped, every ideograph and every punctuation character a word
 * of its own, the rest split at spaces. Letters without accents, such as ß, and full-width forms stay as they are.
 *
 * The character classes and case mappings are those of the Unicode version that Node.js brings.
 */
export function splitWords(text: string): string[] {
  return text.replace(removed, '').toLowerCase().normalize('NFD').replace(accents, '').match(word) ?? [];
}

/** Whether a character is always a word of its own: an ideograph or punctuation. */
export function isWordByItself(character: string): boolean {
  return standsAlone.test(character);
}
