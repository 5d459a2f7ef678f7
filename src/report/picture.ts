import { messageOf, UserError } from '../errors.js';
import { shownPicture } from '../image/shownPicture.js';
import { type Html, html } from './html.js';

/** A picture of a report, as a PNG, JPEG or WebP file; or why it can't be shown, which takes its place. */
export type ReportPicture = Buffer | string;

/**
 * A picture made small. One that is gone or damaged by now must not cost the report, which comes after the work: what
 * went wrong is given in its place.
 *
 * @param read gives the picture's file
 * @param name what to call it in that message
 * @param side pixels at most, of width and height
 */
export async function reportPicture(
  read: () => Uint8Array | Promise<Uint8Array>,
  name: string,
  side: number,
): Promise<ReportPicture> {
  try {
    return await shownPicture(await read(), name, side);
  } catch (error) {
    return messageOf(error);
  }
}

/** The picture, or the text in its place. @throws UserError naming it, where it is a file of another kind */
export function pictureTag(picture: ReportPicture, name: number | string, alt = String(name)): Html {
  if (typeof picture === 'string') return html`<span class="quiet">${picture}</span>`;
  return html`<img src="${dataUri(picture, name)}" alt="${alt}">`;
}

/** The picture as a data URI, its kind told from the file's first bytes. */
function dataUri(image: Buffer, name: number | string): string {
  const start = image.toString('latin1', 0, 12);
  let kind: string;
  if (start.startsWith('\x89PNG\r\n\x1a\n')) kind = 'png';
  else if (start.startsWith('\xff\xd8\xff')) kind = 'jpeg';
  else if (/^RIFF....WEBP$/s.test(start)) kind = 'webp';
  else throw new UserError(`picture ${name}: expected a PNG, JPEG or WebP file for the report`);
  return `data:image/${kind};base64,${image.toString('base64')}`;
}
