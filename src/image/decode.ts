import sharp, { type Metadata, type Sharp } from 'sharp';
import { messageOf, UserError } from '../errors.js';
import { decodeBmp, isBmp } from './bmp.js';
import { type GifPalette, inspectGif } from './gif.js';
import { jpegComponents } from './jpeg.js';
import { MAX_PIXELS, requireSides } from './limits.js';
import type { Image } from './resize.js';

/**
 * A picture before resizing, with what Pillow's mode decides in the reference: how it is resized (palette and
 * bilevel pictures by nearest neighbour) and what becomes of its channels afterwards.
 */
export interface DecodedImage extends Image {
  /** RGB has 3 channels, RGBA and CMYK have 4. Grey pictures are RGB with equal channels, which resizes alike. */
  mode: 'RGB' | 'RGBA' | 'CMYK';
  resampling: 'bicubic' | 'nearest';
}

/**
 * Decodes a JPEG, PNG, WebP, GIF or BMP file to 8-bit pixels as stored: EXIF orientation and colour profiles are ignored,
 * of an animation the first frame is taken, 16-bit values keep their upper byte. Nothing is composed: transparent
 * pixels keep their colour.
 *
 * @param name what to call the picture in error messages
 * @param maxPixels a lower limit than that
 * @throws UserError for another format, a damaged or truncated file, one above 179 million pixels or 65,535 a side
 */
export async function decodeImage(
  bytes: Uint8Array,
  name: string,
  maxPixels = MAX_PIXELS,
): Promise<DecodedImage> {
  // Checked here, before a decoder sees the bytes: sharp would also render SVG and others.
  if (!hasKnownSignature(bytes)) {
    throw new UserError(`${name}: no picture that can be read; expected a JPEG, PNG, WebP, GIF or BMP file`);
  }
  try {
    if (isBmp(bytes)) return decodeBmp(bytes, maxPixels);
    const gif = isGif(bytes) ? inspectGif(bytes) : undefined;
    const picture = sharp(withoutTransparency(bytes, gif?.transparencyFlag), {
      ignoreIcc: true,
      failOn: 'error',
      limitInputPixels: maxPixels,
    });
    const { mode, resampling } = modeOfJpeg(bytes) ?? (await inspect(picture, bytes, gif));
    if (mode === 'CMYK') picture.pipelineColourspace('cmyk').toColourspace('cmyk');
    else picture.toColourspace('srgb');
    if (mode === 'RGB') picture.removeAlpha();
    const { data, info } = await picture.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const channels = mode === 'RGB' ? 3 : 4;
    if (info.channels !== channels) throw new Error(`expected ${channels} channels, found ${info.channels}`);
    return { width: info.width, height: info.height, channels, data, mode, resampling };
  } catch (error) {
    throw new UserError(
      `${name}: the picture can't be decoded (${messageOf(error).replace(/\s+/g, ' ').trim()})`,
    );
  }
}

type Treatment = Pick<DecodedImage, 'mode' | 'resampling'>;

/** Spares JPEG files the look at their metadata, which costs as much as a tenth of decoding. */
function modeOfJpeg(bytes: Uint8Array): Treatment | undefined {
  const components = isJpeg(bytes) ? jpegComponents(bytes) : undefined;
  return components === undefined
    ? undefined
    : { mode: components === 4 ? 'CMYK' : 'RGB', resampling: 'bicubic' };
}

async function inspect(picture: Sharp, bytes: Uint8Array, gif: GifPalette | undefined): Promise<Treatment> {
  const metadata = await picture.metadata();
  requireSides(metadata.width, metadata.height);
  const isIndexed = gif ? !gif.isGrey : metadata.isPalette || metadata.bitsPerSample === 1;
  return { mode: modeOf(bytes, metadata), resampling: isIndexed ? 'nearest' : 'bicubic' };
}

/** The decoder would blacken a GIF's transparent pixels, which keep their palette's colour in Pillow. */
function withoutTransparency(bytes: Uint8Array, flag: number | undefined): Uint8Array {
  if (flag === undefined) return bytes;
  const opaque = Uint8Array.from(bytes);
  opaque[flag] &= 0xfe;
  return opaque;
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

function isGif(bytes: Uint8Array): boolean {
  return bytes[0] === 0x47 && bytes[1] === 0x49 && bytes[2] === 0x46;
}

function modeOf(bytes: Uint8Array, metadata: Metadata): DecodedImage['mode'] {
  if (metadata.space === 'cmyk') return 'CMYK';
  // A PNG's single transparent colour, or transparent palette entries, are no alpha channel.
  const hasAlpha =
    metadata.format === 'png' ? PNG_ALPHA_TYPES.has(bytes[PNG_COLOUR_TYPE]) : metadata.hasAlpha;
  return hasAlpha && !metadata.isPalette ? 'RGBA' : 'RGB';
}

/** Offset of the colour type in a PNG file. */
const PNG_COLOUR_TYPE = 25;
/** Grey with alpha and RGB with alpha. */
const PNG_ALPHA_TYPES = new Set([4, 6]);

function hasKnownSignature(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 12)).toString('latin1');
  return (
    isJpeg(bytes) ||
    start.startsWith('\x89PNG\r\n\x1a\n') ||
    start.startsWith('GIF87a') ||
    start.startsWith('GIF89a') ||
    isBmp(bytes) ||
    (start.startsWith('RIFF') && start.endsWith('WEBP'))
  );
}
