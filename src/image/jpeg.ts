/**
 * How many components the frame header of a JPEG file names: 1 grey, 3 colour, 4 CMYK or YCCK; undefined where no header is
 * found.
 */
export function jpegComponents(bytes: Uint8Array): number | undefined {
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1];
    // C4, C8 and CC are no frame headers but tables and an extension.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return bytes[at + 9];
    }
    // Any number of FF may stand before a marker.
    at += marker === 0xff ? 1 : 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
  }
  return undefined;
}
