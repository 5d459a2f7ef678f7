import { UserError } from '../errors.js';

/**
 * The bytes of base64 in either alphabet, with or without padding.
 *
 * @throws UserError where it is damaged or empty
 */
export function decodeBase64(encoded: string, name: string): Buffer {
  const text = encoded.trim();
  const bytes = Buffer.from(text, 'base64');
  // Buffer leaves out what is no base64 and says nothing: the length tells.
  const digits = text.endsWith('==') ? text.length - 2 : text.endsWith('=') ? text.length - 1 : text.length;
  if (digits % 4 === 1 || bytes.length === 0 || bytes.length !== Math.floor((digits * 3) / 4)) {
    throw new UserError(`${name}: the base64 of the picture is damaged or empty`);
  }
  return bytes;
}
