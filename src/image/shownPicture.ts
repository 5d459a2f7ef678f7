import sharp from 'sharp';
import { decodeImage } from './decode.js';
import { convertToRgb } from './preprocess.js';

/**
 * A picture to look at, as a JPEG file of at most `side` pixels a side. It is decoded as the model's input is, so that
 * every picture that the model can take is shown and nothing else of its file is passed on. An alpha channel is put on
 * white.
 *
 * @throws UserError where it can't be decoded
 */
export async function shownPicture(bytes: Uint8Array, name: string, side: number): Promise<Buffer> {
  const decoded = await decodeImage(bytes, name);
  // Inks become RGB here; sharp knows an alpha channel itself.
  const { data, width, height, channels } = decoded.mode === 'RGBA' ? decoded : convertToRgb(decoded);
  return sharp(data, { raw: { width, height, channels: channels as 3 | 4 } })
    .resize(side, side, { fit: 'inside', withoutEnlargement: true })
    .flatten({ background: 'white' })
    .jpeg({ quality: 80 })
    .toBuffer();
}
