import { availableParallelism } from 'node:os';
import sharp from 'sharp';
import type { Emoji, StylePictures } from './emojiPackages.js';

/** A style's distinct pictures as base64 of PNG files, by image id, and the image id of each emoji it draws. */
export interface RenderedStyle {
  images: Map<number, string>;
  idOf: Map<Emoji, number>;
}

/**
 * Renders what a style has of the given emoji, several at once. Emoji with exactly the same picture get one image,
 * with the id of the first. The result doesn't depend on the order in which pictures get ready.
 *
 * @param size width and height in pixels
 * @param idOf the image id of an emoji
 * @param onPicture called after each picture
 */
export async function renderStyle(
  style: StylePictures,
  emoji: readonly Emoji[],
  size: number,
  idOf: (emoji: Emoji) => number,
  onPicture: () => void,
): Promise<RenderedStyle> {
  const drawn = emoji.filter((one) => style.draws(one));
  const pictures: string[] = new Array(drawn.length);
  const jobs = drawn.entries();
  const renderJobs = async () => {
    for (const [i, one] of jobs) {
      pictures[i] = (await renderPng(style.svg(one, size))).toString('base64');
      onPicture();
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, renderJobs));

  const idOfPicture = new Map<string, number>();
  const rendered: RenderedStyle = { images: new Map(), idOf: new Map() };
  drawn.forEach((one, i) => {
    const id = idOfPicture.get(pictures[i]) ?? idOf(one);
    idOfPicture.set(pictures[i], id);
    rendered.images.set(id, pictures[i]);
    rendered.idOf.set(one, id);
  });
  return rendered;
}

/** RGB on white: the reference drops an alpha channel, which would leave what lies under transparent pixels. */
function renderPng(svg: string): Promise<Buffer> {
  return sharp(Buffer.from(svg))
    .flatten({ background: 'white' })
    .toColourspace('srgb')
    .png({ compressionLevel: 9 })
    .toBuffer();
}
