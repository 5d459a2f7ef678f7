import sharp from 'sharp';
import type { Dataset } from '../data/dataset.js';
import { messageOf } from '../errors.js';
import { augmentImage } from '../image/augment/augment.js';
import { decodeImage } from '../image/decode.js';
import { resizeToRgb } from '../image/preprocess.js';
import type { Image } from '../image/resize.js';
import { Random } from '../random.js';
import { prepareText } from '../text/tokenizer.js';
import { html, page } from './html.js';

/** A pair as training sees it. */
export interface Sample {
  position: number;
  imageId: number | string;
  text: string;
  /** The picture as it is, then augmented as in the first epochs; a message where it can't be read. */
  pictures: Image[] | string;
}

export interface SampleOptions {
  /** pairs at most */
  n: number;
  /** side of the pictures, in pixels */
  size: number;
  /** augmented variants of each picture */
  variants: number;
  seed: number;
}

/** Pairs drawn at random, in the dataset's order, with their pictures. */
export async function drawSamples(
  dataset: Dataset,
  { n, size, variants, seed }: SampleOptions,
): Promise<Sample[]> {
  const positions = new Random(seed, 'preview').shuffle(
    Int32Array.from({ length: dataset.length }, (_, i) => i),
  );
  const samples: Sample[] = [];
  for (const position of positions.subarray(0, n).sort()) {
    const { imageRow, imageId, text } = dataset.caption(position);
    samples.push({ position, imageId, text, pictures: await picturesOf(imageRow, position) });
  }
  return samples;

  async function picturesOf(row: number, position: number): Promise<Image[] | string> {
    try {
      const { bytes, name } = await dataset.image(row);
      const image = await decodeImage(bytes, name);
      const augmented = Array.from({ length: variants }, (_, epoch) =>
        augmentImage(image, size, new Random(seed, 'augment', epoch, position)),
      );
      return [resizeToRgb(image, size), ...augmented];
    } catch (error) {
      return messageOf(error);
    }
  }
}

/** A page with a card for each pair: its picture, the augmented ones, the caption. */
export async function contactSheetPage(title: string, samples: readonly Sample[]): Promise<string> {
  const cards = await Promise.all(
    samples.map(async ({ position, imageId, text, pictures }) => {
      const shown =
        typeof pictures === 'string'
          ? html`<p>${pictures}</p>`
          : await Promise.all(
              pictures.map(async (picture, i) => {
                const label = i === 0 ? 'as it is' : `augmented, epoch ${i}`;
                const png = (await toPng(picture)).toString('base64');
                return html`<img src="data:image/png;base64,${png}" alt="${label}" title="${label}" width="112" height="112">\n`;
              }),
            );
      const prepared = prepareText(text);
      const other = prepared === text ? '' : html`<p class="quiet">to the tokenizer: ${prepared}</p>`;
      return html`<section class="card" style="margin-top:.75rem">
<div style="display:flex;flex-wrap:wrap;gap:.375rem">${shown}</div>
<p lang="zh">${text}</p>
${other}<small>pair ${position + 1}, picture ${imageId}</small>
</section>
`;
    }),
  );
  const explanation = html`<p class="quiet">Each picture as the model sees it, and next to it as it is augmented in
training.</p>`;
  return page(title, html`<h1>${title}</h1>${explanation}${cards}`);
}

/** The same pictures as one PNG: a row for each pair, without captions. */
export async function contactSheetPng(samples: readonly Sample[], size: number): Promise<Buffer> {
  const readable = samples.flatMap(({ pictures }) => (typeof pictures === 'string' ? [] : [pictures]));
  const cell = size + 4;
  const columns = readable[0]?.length ?? 1;
  const placed = readable.flatMap((pictures, row) =>
    pictures.map(({ data, width, height }, column) => ({
      input: Buffer.from(data),
      raw: { width, height, channels: 3 as const },
      left: column * cell + 2,
      top: row * cell + 2,
    })),
  );
  const sheet = { width: columns * cell, height: Math.max(readable.length, 1) * cell, channels: 3 as const };
  return sharp({ create: { ...sheet, background: 'white' } })
    .composite(placed)
    .removeAlpha()
    .png()
    .toBuffer();
}

function toPng({ data, width, height }: Image): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
