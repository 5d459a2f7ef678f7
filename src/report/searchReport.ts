import { readFileSync } from 'node:fs';
import { writeText } from '../io/atomic.js';
import type { PictureReader } from '../search/indexSource.js';
import { type Html, html, page } from './html.js';
import { grouped } from './numbers.js';
import { pictureTag, reportPicture } from './picture.js';

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
    const shown = await shownTag(async () => (await pictures.read(picture)).bytes, id);
    cards.push(
      html`<li>${shown}<strong>${rank}</strong><span>${id}</span><small>cosine ${cosine.toFixed(4)}</small></li>\n`,
    );
  }
  const asked = isPicture
    ? html`<div class="card" style="max-width:12rem">${await shownTag(() => readFileSync(query), query)}</div>`
    : '';
  const body = html`<h1 lang="zh">${query}</h1>
${asked}<p class="quiet">The ${found.length} nearest of ${grouped(total)} pictures, by cosine (${description}).</p>
<ul class="mistakes" style="grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr))">
${cards}</ul>`;
  writeText(path, page(query, body));
}

async function shownTag(read: () => Buffer | Promise<Buffer>, name: string): Promise<Html> {
  return pictureTag(await reportPicture(read, name, THUMBNAIL_SIDE), name);
}
