import { readFileSync } from 'node:fs';
import { messageOf } from '../errors.js';
import { writeText } from '../io/atomic.js';
import type { PictureReader } from '../search/indexSource.js';
import { shownPicture } from '../search/shownPicture.js';
import { type Html, html, page } from './html.js';

export interface SearchResult {
  /** the text, or the path of the picture */
  query: string;
  isPicture: boolean;
  /** best first; `picture` is the number in the index */
  found: readonly { rank: number; cosine: number; picture: number; id: string }[];
  pictures: PictureReader;
  /** how was searched */
  description: string;
  /** pictures of the index */
  total: number;
}

const THUMBNAIL_SIDE = 320;

/** Writes a page with the pictures that were found, one HTML file that needs nothing else. */
export async function writeSearchReport(path: string, result: SearchResult): Promise<void> {
  const { query, isPicture, found, pictures, description, total } = result;
  const cards: Html[] = [];
  for (const { rank, cosine, picture, id } of found) {
    const shown = await pictureOf(() => pictures.read(picture), id);
    cards.push(
      html`<li>${shown}<strong>${rank}</strong><span>${id}</span><small>cosine ${cosine.toFixed(4)}</small></li>\n`,
    );
  }
  const asked = isPicture
    ? html`<div class="card" style="max-width:12rem">${await pictureOf(() => ({ bytes: readFileSync(query) }), query)}</div>`
    : '';
  const body = html`<h1 lang="zh">${query}</h1>
${asked}<p class="quiet">The ${found.length} nearest of ${total.toLocaleString('en-US')} pictures, by cosine (${description}).</p>
<ul class="mistakes" style="grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr))">
${cards}</ul>`;
  writeText(path, page(query, body));
}

/** A picture that is gone or damaged by now leaves its place in the list. */
async function pictureOf(
  read: () => { bytes: Buffer } | Promise<{ bytes: Buffer }>,
  name: string,
): Promise<Html> {
  try {
    const jpeg = await shownPicture((await read()).bytes, name, THUMBNAIL_SIDE);
    return html`<img src="data:image/jpeg;base64,${jpeg.toString('base64')}" alt="${name}" style="max-width:100%">`;
  } catch (error) {
    return html`<span class="quiet">${messageOf(error)}</span>`;
  }
}
