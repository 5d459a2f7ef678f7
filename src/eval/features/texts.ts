import { UserError } from '../../errors.js';
import { shown } from '../../io/json.js';
import { readJsonLines } from '../../io/jsonl.js';
import { requireId, requireNew } from '../files.js';
import type { Id } from '../retrieval.js';

/**
 * Reads texts with their ids from JSON Lines: `{"text_id": 1, "text": "…"}` a line; other fields are left aside.
 *
 * @throws UserError with file and line where a field is missing or of another kind, or an id repeats; for no text
 */
export function readTexts(path: string): { textId: Id; text: string }[] {
  const texts: { textId: Id; text: string }[] = [];
  const seen = new Set<Id>();
  for (const { value, where } of readJsonLines(path)) {
    const { text } = value;
    const textId = requireId(value.text_id, 'text_id', where);
    if (typeof text !== 'string') throw new UserError(`${where}: expected "text", found ${shown(text)}`);
    requireNew(seen, textId, 'text_id', where);
    texts.push({ textId, text });
  }
  if (texts.length === 0) throw new UserError(`${path}: the file is empty, expected one text a line`);
  return texts;
}
