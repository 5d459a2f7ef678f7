import { UserError } from '../errors.js';
import { type Html, html } from './html.js';
import { grouped } from './numbers.js';

/** A caption, and the pictures that the model ranks first for it. */
export interface QueryExample {
  text: string;
  /** Best first; pictures as PNG, JPEG or WebP files. */
  results: readonly { image: Buffer; correct: boolean; id: number | string }[];
  /** A right picture that is not among them, shown beside. */
  missed?: { image: Buffer; id: number | string };
  /** The rank, from 1, of the first right picture in the whole pool; Infinity where there is none. */
  rankOfTrue: number;
}

/** A picture, and the texts that the model ranks first for it. */
export interface PictureExample {
  image: Buffer;
  id: number | string;
  /** Best first. */
  results: readonly { text: string; correct: boolean }[];
  /** A right text that is not among them, shown below. */
  missed?: string;
  /** The rank, from 1, of the first right text in the whole pool; Infinity where there is none. */
  rankOfTrue: number;
}

/** A caption with its first pictures; the right ones are marked by more than colour. */
export function queryCard({ text, results, missed, rankOfTrue }: QueryExample): Html {
  const pictures = results.map(({ image, correct, id }, i) => {
    const alt = `Rank ${i + 1}: picture ${id}, ${correct ? 'right' : 'not right'}`;
    return correct
      ? html`<li class="right"><img src="${dataUri(image, id)}" alt="${alt}">✓ ${i + 1}</li>\n`
      : html`<li><img src="${dataUri(image, id)}" alt="${alt}">${i + 1}</li>\n`;
  });
  return html`<article class="card">
<h3 lang="zh">${text}</h3>
<small>${rankText('picture', rankOfTrue)}</small>
<ol class="results">
${pictures}${missed === undefined ? '' : html`<li class="right"><img src="${dataUri(missed.image, missed.id)}" alt="The right picture ${missed.id}">✓ sought</li>\n`}</ol>
</article>
`;
}

/** A picture with its first texts; the right ones are marked by more than colour. */
export function pictureCard({ image, id, results, missed, rankOfTrue }: PictureExample): Html {
  const texts = results.map(({ text, correct }) =>
    correct
      ? html`<li class="right" lang="zh">${text} <span role="img" aria-label="right">✓</span></li>\n`
      : html`<li lang="zh">${text}</li>\n`,
  );
  return html`<article class="card picture-query">
<img src="${dataUri(image, id)}" alt="picture ${id}">
<div><small>${rankText('text', rankOfTrue)}</small>
<ol>
${texts}</ol>
${missed === undefined ? '' : html`<p class="right" lang="zh">✓ ${missed}</p>`}</div>
</article>
`;
}

function rankText(what: string, rank: number): string {
  return Number.isFinite(rank) ? `First right ${what} at rank ${grouped(rank)}` : `There is no right ${what}`;
}

/** The picture as a data URI, its kind told from the file's first bytes. */
function dataUri(image: Buffer, id: number | string): string {
  const start = image.toString('latin1', 0, 12);
  let kind: string;
  if (start.startsWith('\x89PNG\r\n\x1a\n')) kind = 'png';
  else if (start.startsWith('\xff\xd8\xff')) kind = 'jpeg';
  else if (/^RIFF....WEBP$/s.test(start)) kind = 'webp';
  else throw new UserError(`picture ${id}: expected a PNG, JPEG or WebP file for the report`);
  return `data:image/${kind};base64,${image.toString('base64')}`;
}
