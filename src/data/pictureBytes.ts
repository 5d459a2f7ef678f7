import { UserError } from '../errors.js';
import { readFully } from '../io/readFile.js';

/** No honest picture is larger; a file that says so must not fill the memory. */
const MAX_PICTURE_BYTES = 256 << 20;

/** Reads an encoded picture from an open file. @throws UserError where it is larger than 256 MiB, or cut off */
export function readPicture(file: number, offset: number, size: number, name: string): Buffer {
  requirePictureSize(size, name);
  const bytes = Buffer.allocUnsafe(size);
  readFully(file, offset, bytes, name);
  return bytes;
}

export function requirePictureSize(size: number, name: string): void {
  if (size <= MAX_PICTURE_BYTES) return;
  throw new UserError(`${name}: a picture of ${size} bytes; at most ${MAX_PICTURE_BYTES >> 20} MiB are read`);
}
