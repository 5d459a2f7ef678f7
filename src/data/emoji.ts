import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UserError } from '../errors.js';
import { writeDirectoryAtomic, writeFileAtomic } from '../io/atomic.js';
import { progress, type Reporter } from '../io/terminal.js';
import { prepareText } from '../text/tokenizer.js';
import { buildVocabulary } from '../text/vocabulary.js';
import {
  checkEmojiPackages,
  type Emoji,
  type EmojiStyle,
  emojiStyles,
  readEmoji,
  readStyle,
  type Source,
} from './emojiPackages.js';
import { type RenderedStyle, renderStyle } from './emojiPictures.js';

export { type EmojiStyle, emojiStyles };

/** Twemoji draws every emoji, and every emoji is drawn by another style too: the fullest test there is. */
export const defaultTestStyle: EmojiStyle = 'twemoji';

/** As many as the vocabulary of the released models has; the captions need far fewer. */
const maxVocabularySize = 21128;

export interface EmojiOptions {
  /** width and height of the pictures in pixels; 64 by default */
  size?: number;
  /** the art style held out as the split `test` */
  testStyle?: EmojiStyle;
  /** take the first emoji only, so many */
  limit?: number;
  /** called after each picture with the number done and of all */
  onProgress?: (done: number, total: number) => void;
}

export interface SplitSummary {
  images: number;
  texts: number;
  pairs: number;
}

/** The content of emoji.json. */
export interface EmojiSummary {
  name: string;
  description: string;
  size: number;
  testStyle: EmojiStyle;
  splits: { train: SplitSummary; test: SplitSummary };
  /** emoji of the split test by the number of training styles that draw them */
  testedEmojiByTrainingStyles: Record<number, number>;
  vocabularySize: number;
  /** emoji that the style draws; `distinct` of the pictures differ, the rest share an image id */
  styles: (Source & { split: string; pictures: number; distinct: number })[];
  captions: Source;
}

/** A line of <split>_texts.jsonl. */
export interface CaptionLine {
  text_id: number;
  text: string;
  image_ids: number[];
}

/** Builds Emoji-CN in a folder, unless it is there. */
export async function ensureEmojiDataset(folder: string, reporter: Reporter): Promise<void> {
  // Written last, so that a folder without it was not finished.
  if (existsSync(join(folder, 'emoji.json'))) return;
  await buildEmojiDataset(folder, { onProgress: progress(reporter, 'Emoji-CN pictures') });
  reporter.end();
}

/**
 * Builds Emoji-CN, a small real data set, from npm packages: pictures of some 1,900 emoji in four art styles with
 * Chinese captions. Writes the reference's form (`train_imgs.tsv`, `train_texts.jsonl` and so for `test`), a vocab.txt
 * made from the training captions, and last emoji.json, which says how the data was made and states sources and
 * licences. The same packages give the same bytes.
 *
 * Three styles are the split `train`, with two captions an emoji: its label, and its label with its tags. The fourth
 * is the split `test`, where the caption is the label. An emoji is tested only where at least one training style draws
 * it: the test asks for known things in an unknown style. What only training styles draw is trained on all the same.
 * Emoji with exactly the same picture (the flags of Norway and of Svalbard) share one image, equal captions one text.
 *
 * Pictures are PNG, RGB, on white.
 *
 * @throws UserError where the style is unknown or a package isn't installed
 */
export async function buildEmojiDataset(
  directory: string,
  { size = 64, testStyle = defaultTestStyle, limit = Infinity, onProgress = () => {} }: EmojiOptions = {},
): Promise<EmojiSummary> {
  requireStyle(testStyle);
  requireNewFolder(directory);
  const { emoji: all, source: captions } = readEmoji();
  const emoji = all.slice(0, limit);
  const styles = emojiStyles.map(readStyle);
  const total = styles.reduce((sum, style) => sum + emoji.filter((one) => style.draws(one)).length, 0);
  let done = 0;
  const rendered: RenderedStyle[] = [];
  for (const [number, style] of styles.entries()) {
    const imageId = ({ order }: Emoji) => order * 10 + number;
    rendered.push(await renderStyle(style, emoji, size, imageId, () => onProgress(++done, total)));
  }

  const test = rendered[emojiStyles.indexOf(testStyle)];
  const training = rendered.filter((style) => style !== test);
  const trainingIds = (one: Emoji) => training.flatMap(({ idOf }) => idOf.get(one) ?? []);
  const known = emoji.filter((one) => trainingIds(one).length > 0);
  const tested = known.filter((one) => test.idOf.has(one));
  const trainTexts = mergeTexts(
    known.flatMap((one) =>
      captionsOf(one).map((text, i) => ({ text_id: one.order * 10 + i, text, image_ids: trainingIds(one) })),
    ),
  );
  const testTexts = mergeTexts(
    tested.map((one) => ({ text_id: one.order * 10, text: one.label, image_ids: [test.idOf.get(one)!] })),
  );
  const vocabulary = buildVocabulary(
    trainTexts.map(({ text }) => prepareText(text)),
    { maxSize: maxVocabularySize, minFrequency: 2 },
  );

  mkdirSync(dirname(directory), { recursive: true });
  let summary: EmojiSummary | undefined;
  writeDirectoryAtomic(directory, (folder) => {
    summary = {
      name: 'Emoji-CN',
      description:
        'Pictures of emoji in four art styles with Chinese captions. Split train: three styles, captions "label" and ' +
        '"label，tag，tag". Split test: the style held out, caption "label", emoji that train has in other styles. ' +
        'PNG, RGB on white. Skin tones are left out. Image id: 10 × position in emojibase + number of the style ' +
        "below, from 0; emoji with the same picture share the first one's. Text id: 10 × position + number of the caption.",
      size,
      testStyle,
      splits: {
        train: writeSplit(folder, 'train', trainTexts, training),
        test: writeSplit(folder, 'test', testTexts, [test]),
      },
      testedEmojiByTrainingStyles: count(tested.map((one) => trainingIds(one).length)),
      vocabularySize: vocabulary.length,
      styles: styles.map(({ style, source }, i) => ({
        ...source,
        split: style === testStyle ? 'test' : 'train',
        pictures: rendered[i].idOf.size,
        distinct: rendered[i].images.size,
      })),
      captions,
    };
    writeText(join(folder, 'vocab.txt'), `${vocabulary.join('\n')}\n`);
    writeText(join(folder, 'emoji.json'), `${JSON.stringify(summary, null, 2)}\n`);
  });
  return summary!;
}

/** @throws UserError for an art style that there isn't, or packages that aren't installed */
export function requireStyle(style: EmojiStyle): void {
  if (!emojiStyles.includes(style)) {
    throw new UserError(`art style '${style}': expected one of ${emojiStyles.join(', ')}`);
  }
  checkEmojiPackages();
}

/** @throws UserError for a folder that holds something */
export function requireNewFolder(directory: string): void {
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new UserError(`${directory} is not empty: name another folder, or delete this one`);
  }
}

/** The label, and the label with the tags where there are any. */
export function captionsOf({ label, tags }: Emoji): string[] {
  return tags.length === 0 ? [label] : [label, [label, ...tags].join('，')];
}

/** Joins texts that are the same to the tokenizer: a pool holds each caption once, true for all its images. */
export function mergeTexts(texts: Iterable<CaptionLine>): CaptionLine[] {
  const merged = new Map<string, CaptionLine>();
  for (const line of texts) {
    const key = prepareText(line.text);
    const first = merged.get(key) ?? { ...line, image_ids: [] };
    first.image_ids = [...new Set([...first.image_ids, ...line.image_ids])];
    merged.set(key, first);
  }
  return [...merged.values()];
}

export function writeSplit(
  directory: string,
  split: string,
  texts: CaptionLine[],
  styles: RenderedStyle[],
): SplitSummary {
  const used = new Set(texts.flatMap(({ image_ids }) => image_ids));
  const images = styles
    .flatMap(({ images }) => [...images])
    .filter(([id]) => used.has(id))
    .sort(([a], [b]) => a - b);
  writeText(join(directory, `${split}_imgs.tsv`), images.map(([id, png]) => `${id}\t${png}\n`).join(''));
  writeText(
    join(directory, `${split}_texts.jsonl`),
    texts.map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
  const pairs = texts.reduce((sum, { image_ids }) => sum + image_ids.length, 0);
  return { images: images.length, texts: texts.length, pairs };
}

function count(values: number[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

function writeText(path: string, text: string): void {
  writeFileAtomic(path, (append) => append(text));
}
