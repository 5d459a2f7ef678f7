import { type Html, html } from './html.js';
import { grouped } from './numbers.js';
import { pictureTag, type ReportPicture } from './picture.js';

/** A caption, and the pictures that the model ranks first for it. */
export interface QueryExample {
  text: string;
  /** Best first. */
  results: readonly { image: ReportPicture; correct: boolean; id: number | string }[];
  /** A right picture that is not among them, shown beside. */
  missed?: { image: ReportPicture; id: number | string };
  /** The rank, from 1, of the first right picture in the whole pool; Infinity where there is none. */
  rankOfTrue: number;
}

/** A picture, and the texts that the model ranks first for it. */
export interface PictureExample {
  image: ReportPicture;
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
    const shown = pictureTag(image, id, alt);
    return correct ? html`<li class="right">${shown}✓ ${i + 1}</li>\n` : html`<li>${shown}${i + 1}</li>\n`;
  });
  return html`<article class="card">
<h3 lang="zh">${text}</h3>
<small>${rankText('picture', rankOfTrue)}</small>
<ol class="results">
${pictures}${missed === undefined ? '' : html`<li class="right">${pictureTag(missed.image, missed.id, `The right picture ${missed.id}`)}✓</li>\n`}</ol>
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
${pictureTag(image, id, `picture ${id}`)}
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
