import { UserError } from '../errors.js';
import { shown } from '../io/json.js';

/** Far above any caption: a text is cut to some fifty tokens. */
const MAX_CAPTION_BYTES = 1 << 20;
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * A caption as UTF-8.
 *
 * @throws UserError where it is no UTF-8 or longer than 1 MiB
 */
export function decodeCaption(bytes: Uint8Array, where: string): string {
  requireCaptionSize(bytes.length, where);
  try {
    return decoder.decode(bytes);
  } catch {
    throw new UserError(`${where}: the caption is not UTF-8`);
  }
}

/** @throws UserError where a caption has more bytes than are read, 1 MiB */
export function requireCaptionSize(bytes: number, where: string): void {
  if (bytes <= MAX_CAPTION_BYTES) return;
  throw new UserError(`${where}: a caption of ${bytes} bytes; at most 1 MiB is read`);
}

/** The captions that a JSON value gives: a string, or a list of them. @throws UserError for another value */
export function captionsOf(value: unknown, where: string): string[] {
  const list = Array.isArray(value) ? value : [value];
  for (const each of list) {
    if (typeof each !== 'string') {
      throw new UserError(
        `${where}: expected a caption, a string or a list of strings; found ${shown(each)}`,
      );
    }
    if (each.length > MAX_CAPTION_BYTES) {
      throw new UserError(`${where}: a caption of ${each.length} characters; at most 1,048,576 are read`);
    }
  }
  return list as string[];
}

/** Names under which captions are found if no other is given. */
export const captionNames = ['caption', 'text', 'title'];

/**
 * The one of the names that a table has.
 *
 * @param given the configured name, which must be there
 * @throws UserError naming what is there, where none of the names is
 */
export function chooseColumn(
  what: 'image' | 'text',
  given: string | undefined,
  usual: readonly string[],
  there: readonly string[],
  where: string,
): string {
  const found = (given === undefined ? usual : [given]).find((name) => there.includes(name));
  if (found !== undefined) return found;
  const expected = given === undefined ? `one of ${usual.join(', ')}` : `"${given}"`;
  throw new UserError(
    `${where}: no column for the ${what}: expected ${expected}; there are ${there.join(', ').slice(0, 300)} ` +
      `(name it with columns: { ${what}: … })`,
  );
}
