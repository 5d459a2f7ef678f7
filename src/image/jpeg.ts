export interface JpegFrame {
  /** 1 grey, 3 colour, 4 CMYK or YCCK */
  components: number;
  pixels: number;
}

/**
 * The frame header of a JPEG file; undefined where none is found. Asking the decoder would cost as much as a tenth of
 * decoding.
 */
export function jpegFrame(bytes: Uint8Array): JpegFrame | undefined {
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1];
    // C4, C8 and CC are no frame headers but tables and an extension.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      const [height, width] = [5, 7].map((from) => (bytes[at + from] << 8) | bytes[at + from + 1]);
      return { components: bytes[at + 9], pixels: width * height };
    }
    // Any number of FF may stand before a marker.
    at += marker === 0xff ? 1 : 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
  }
  return undefined;
}
