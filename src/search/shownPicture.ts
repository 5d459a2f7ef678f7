import sharp from 'sharp';
import { decodeImage } from '../image/decode.js';
import { convertToRgb } from '../image/preprocess.js';

/**
 * A picture to look at, as a JPEG file of at most `side` pixels a side: decoded as the model's input is, so that nothing
 * of the original file is passed on.
 *
 * @throws UserError where it can't be decoded
 */
export async function shownPicture(bytes: Uint8Array, name: string, side: number): Promise<Buffer> {
  const { data, width, height } = convertToRgb(await decodeImage(bytes, name));
  return sharp(data, { raw: { width, height, channels: 3 } })
    .resize(side, side, { fit: 'inside', withoutEnlargement: true })
    .jpeg({ quality: 80 })
    .toBuffer();
}
