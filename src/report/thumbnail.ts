import sharp from 'sharp';

/** A picture made small for a report, as a JPEG file: at most `side` pixels wide and high, on white. */
export function thumbnail(bytes: Uint8Array, side: number): Promise<Buffer> {
  return sharp(bytes)
    .resize(side, side, { fit: 'inside', withoutEnlargement: true })
    .flatten({ background: 'white' })
    .toColourspace('srgb')
    .jpeg({ quality: 75 })
    .toBuffer();
}
