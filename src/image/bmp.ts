import type { DecodedImage } from './decode.js';
import { requireSides } from './limits.js';

/** Where the parts of a BMP file are, and how its pixels are written. */
interface Header {
  width: number;
  height: number;
  topDown: boolean;
  bits: number;
  compression: number;
  /** [red, green, blue, alpha] bits of a pixel of 16 or 32 bits. */
  masks: readonly number[];
  /** where the palette begins, how many colours it has, and bytes of each */
  palette: { start: number; count: number; size: number };
  pixels: number;
}

const COMPRESSION = { none: 0, rle8: 1, rle4: 2, masks: 3 };
const HEADER_SIZES = [12, 40, 64, 108, 124];
const MASKS = {
  555: [0x7c00, 0x3e0, 0x1f, 0],
  565: [0xf800, 0x7e0, 0x1f, 0],
  bgrx: [0xff0000, 0xff00, 0xff, 0],
  bgra: [0xff0000, 0xff00, 0xff, 0xff000000],
} as const;
/** Layouts that Pillow knows for 32 bits. */
const MASKS_32: readonly (readonly number[])[] = [
  MASKS.bgrx,
  MASKS.bgra,
  [0xff000000, 0xff0000, 0xff00, 0],
  [0xff000000, 0xff0000, 0xff00, 0xff],
  [0xff, 0xff00, 0xff0000, 0xff000000],
];

export const isBmp = (bytes: Uint8Array): boolean => bytes[0] === 0x42 && bytes[1] === 0x4d;

/**
 * Decodes a BMP file as Pillow does: 1, 4, 8, 16, 24 or 32 bits a pixel, run lengths too, either direction. The fourth
 * byte of 32 bits is alpha only where the file has a mask for it. A palette of all greys in order is no palette
 * (but for two colours, which stay bilevel), so such pictures are not resized by nearest neighbour.
 *
 * @param maxPixels beyond it nothing is allocated
 * @throws Error saying what is wrong with the file
 */
export function decodeBmp(file: Uint8Array, maxPixels: number): DecodedImage {
  const bytes = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const header = readHeader(bytes);
  const { width, height, bits } = header;
  if (width < 1 || height < 1) throw new Error(`${width} × ${height} pixels`);
  if (width * height > maxPixels) throw new Error('more pixels than the limit');
  requireSides(width, height);
  if (bits <= 8) return decodeIndexed(bytes, header);
  return decodeColours(bytes, header);
}

function readHeader(bytes: DataView): Header {
  requireBytes(bytes, 0, 18);
  const size = bytes.getUint32(14, true);
  if (!HEADER_SIZES.includes(size)) throw new Error(`a header of ${size} bytes is not known`);
  requireBytes(bytes, 14, size);
  const pixels = bytes.getUint32(10, true);
  if (size === 12) {
    const bits = bytes.getUint16(24, true);
    return {
      width: bytes.getUint16(18, true),
      height: bytes.getUint16(20, true),
      topDown: false,
      bits: requireDepth(bits),
      compression: COMPRESSION.none,
      masks: MASKS[555],
      palette: { start: 26, count: 2 ** Math.min(bits, 8), size: 3 },
      pixels,
    };
  }
  const height = bytes.getInt32(22, true);
  const bits = requireDepth(bytes.getUint16(28, true));
  const compression = bytes.getUint32(30, true);
  const isKnown =
    compression === COMPRESSION.none ||
    (compression === COMPRESSION.rle8 && bits === 8) ||
    (compression === COMPRESSION.rle4 && bits === 4) ||
    (compression === COMPRESSION.masks && bits >= 16);
  if (!isKnown) throw new Error(`compression ${compression} of ${bits} bits a pixel is not read`);
  return {
    width: bytes.getInt32(18, true),
    height: Math.abs(height),
    topDown: height < 0,
    bits,
    compression,
    masks:
      compression === COMPRESSION.masks
        ? readMasks(bytes, size, bits)
        : bits === 16
          ? MASKS[555]
          : MASKS.bgrx,
    palette: { start: 14 + size, count: bytes.getUint32(46, true) || 2 ** Math.min(bits, 8), size: 4 },
    pixels,
  };
}

function requireDepth(bits: number): number {
  if ([1, 4, 8, 16, 24, 32].includes(bits)) return bits;
  throw new Error(`${bits} bits a pixel are not read`);
}

function readMasks(bytes: DataView, headerSize: number, bits: number): readonly number[] {
  // After a header of 40 bytes there are three; longer headers hold four.
  const count = headerSize === 40 ? 3 : 4;
  requireBytes(bytes, 54, count * 4);
  const masks = [0, 1, 2, 3].map((i) => (i < count ? bytes.getUint32(54 + i * 4, true) : 0));
  if (bits === 32 && masks.every((mask) => mask === 0)) return MASKS.bgra;
  const colours = bits === 32 ? masks : [...masks.slice(0, 3), 0];
  const known = bits === 32 ? MASKS_32 : bits === 16 ? [MASKS[555], MASKS[565]] : [MASKS.bgrx];
  const found = known.find((candidate) => candidate.every((mask, i) => mask === colours[i]));
  if (found) return found;
  throw new Error(`the colour masks ${masks.map((mask) => mask.toString(16)).join(', ')} are not known`);
}

function decodeColours(bytes: DataView, header: Header): DecodedImage {
  const { width, height, bits, masks, pixels } = header;
  const channels = masks[3] === 0 ? 3 : 4;
  const stride = Math.ceil((width * bits) / 32) * 4;
  requireBytes(bytes, pixels, stride * (height - 1) + Math.ceil((width * bits) / 8));
  const data = new Uint8Array(width * height * channels);
  const fields = masks.slice(0, channels).map((mask) => {
    const shift = 31 - Math.clz32(mask & -mask);
    return { shift, max: mask >>> shift };
  });
  let to = 0;
  for (let row = 0; row < height; row++) {
    let from = pixels + rowOf(header, row) * stride;
    for (let x = 0; x < width; x++, from += bits / 8) {
      if (bits === 24) {
        for (let c = 2; c >= 0; c--) data[to++] = bytes.getUint8(from + c);
        continue;
      }
      const pixel = bits === 16 ? bytes.getUint16(from, true) : bytes.getUint32(from, true);
      for (const { shift, max } of fields) {
        data[to++] = Math.trunc((((pixel >>> shift) & max) * 255) / max);
      }
    }
  }
  return { width, height, channels, data, mode: channels === 3 ? 'RGB' : 'RGBA', resampling: 'bicubic' };
}

function decodeIndexed(bytes: DataView, header: Header): DecodedImage {
  const { width, height, compression, palette } = header;
  if (palette.count > 256) throw new Error(`a palette of ${palette.count} colours`);
  requireBytes(bytes, palette.start, palette.count * palette.size);
  const colours = new Uint8Array(256 * 3);
  let isGrey = true;
  for (let i = 0; i < palette.count; i++) {
    for (let c = 0; c < 3; c++) {
      colours[i * 3 + c] = bytes.getUint8(palette.start + i * palette.size + 2 - c);
      if (colours[i * 3 + c] !== (palette.count === 2 ? i * 255 : i)) isGrey = false;
    }
  }
  const indices = compression === COMPRESSION.none ? readIndices(bytes, header) : readRuns(bytes, header);
  const data = new Uint8Array(width * height * 3);
  let to = 0;
  for (let row = 0; row < height; row++) {
    const start = rowOf(header, row) * width;
    for (let x = 0; x < width; x++) {
      const colour = indices[start + x] * 3;
      for (let c = 0; c < 3; c++) data[to++] = colours[colour + c];
    }
  }
  const resampling = isGrey && palette.count > 2 ? 'bicubic' : 'nearest';
  return { width, height, channels: 3, data, mode: 'RGB', resampling };
}

/** Palette indices of every pixel, rows as the file has them. */
function readIndices(bytes: DataView, { width, height, bits, pixels }: Header): Uint8Array {
  const stride = Math.ceil((width * bits) / 32) * 4;
  requireBytes(bytes, pixels, stride * (height - 1) + Math.ceil((width * bits) / 8));
  const indices = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    for (let x = 0; x < width; x++) {
      const bit = x * bits;
      const byte = bytes.getUint8(pixels + row * stride + (bit >> 3));
      indices[row * width + x] = (byte >> (8 - bits - (bit & 7))) & (2 ** bits - 1);
    }
  }
  return indices;
}

/** The same from run lengths: pairs of a count and a value; after a count of 0, the end of a row, a jump, or plain values. */
function readRuns(bytes: DataView, { width, height, compression, pixels }: Header): Uint8Array {
  const isNibbles = compression === COMPRESSION.rle4;
  const indices = new Uint8Array(width * height);
  let at = pixels;
  const next = () => {
    requireBytes(bytes, at, 1);
    return bytes.getUint8(at++);
  };
  let x = 0;
  let row = 0;
  const put = (index: number) => {
    if (x < width && row < height) indices[row * width + x] = index;
    x++;
  };
  while (row < height) {
    const count = next();
    const value = next();
    if (count > 0) {
      for (let i = 0; i < count; i++) put(isNibbles ? (i % 2 === 0 ? value >> 4 : value & 15) : value);
      if (row === height - 1 && x >= width) break;
    } else if (value === 0) {
      x = 0;
      row++;
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      x += next();
      row += next();
    } else {
      const start = at;
      for (let i = 0, pair = 0; i < value; i++) {
        if (!isNibbles || i % 2 === 0) pair = next();
        put(isNibbles ? (i % 2 === 0 ? pair >> 4 : pair & 15) : pair);
      }
      // Padded to a whole number of 16-bit words.
      if ((at - start) % 2 === 1) at++;
    }
  }
  return indices;
}

/** Which row of the file is the picture's row. */
function rowOf({ topDown, height }: Header, row: number): number {
  return topDown ? row : height - 1 - row;
}

function requireBytes(bytes: DataView, start: number, length: number): void {
  if (start + length > bytes.byteLength) {
    throw new Error(`truncated: ${start + length} bytes needed, the file has ${bytes.byteLength}`);
  }
}
