import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeDirectoryAtomic, writeText } from '../io/atomic.js';
import { Random } from '../random.js';
import { prepareText } from '../text/tokenizer.js';
import {
  captionsOf,
  defaultTestStyle,
  type EmojiOptions,
  mergeTexts,
  requireNewFolder,
  requireStyle,
  type SplitSummary,
  writeSplit,
} from './emoji.js';
import { type Emoji, emojiStyles, readEmoji, readStyle, type Source } from './emojiPackages.js';
import { renderStyle } from './emojiPictures.js';

/** Shares of the emoji; the rest are the split test. */
const shares = { train: 0.5, valid: 0.1 };
const splits = ['train', 'valid', 'test'] as const;
type Split = (typeof splits)[number];

/** The content of emoji.json. */
export interface EmojiStyleSummary {
  name: string;
  description: string;
  size: number;
  style: Source;
  splits: Record<Split, SplitSummary>;
  /** emoji left out, since they share a picture with one split and a caption with another */
  leftOut: number;
  captions: Source;
}

/**
 * Builds one art style alone, to finetune a model on that was pretrained on the others (`buildEmojiDataset` with this as
 * its test style): half of the emoji are the split `train`, a tenth `valid`, the rest `test`. Which, is drawn from a
 * fixed seed. No picture and no caption of one split is in another, pictures and captions that are equal to the byte
 * or to the tokenizer included. Emoji that no other style draws are left out, as there. Captions of train are the label
 * and the label with its tags, those of valid and test the label. The same packages give the same bytes.
 *
 * @throws UserError where the style is unknown or a package isn't installed
 */
export async function buildEmojiStyle(
  directory: string,
  { size = 64, testStyle = defaultTestStyle, limit = Infinity, onProgress = () => {} }: EmojiOptions = {},
): Promise<EmojiStyleSummary> {
  requireStyle(testStyle);
  requireNewFolder(directory);
  const { emoji, source: captions } = readEmoji();
  const style = readStyle(testStyle);
  const others = emojiStyles.filter((name) => name !== testStyle).map(readStyle);
  const known = emoji
    .slice(0, limit)
    .filter((one) => style.draws(one) && others.some((other) => other.draws(one)));
  const number = emojiStyles.indexOf(testStyle);
  let done = 0;
  const imageId = ({ order }: Emoji) => order * 10 + number;
  const rendered = await renderStyle(style, known, size, imageId, () => onProgress(++done, known.length));

  const { splitOf, leftOut } = assignSplits(known, (one) => [
    `picture ${rendered.idOf.get(one)}`,
    ...captionsOf(one).map(prepareText),
  ]);
  const textsOf = (split: Split) => {
    const captionsIn = (one: Emoji) => (split === 'train' ? captionsOf(one) : [one.label]);
    const chosen = known.filter((one) => splitOf.get(one) === split);
    return mergeTexts(
      chosen.flatMap((one) =>
        captionsIn(one).map((text, i) => ({
          text_id: one.order * 10 + i,
          text,
          image_ids: [rendered.idOf.get(one)!],
        })),
      ),
    );
  };
  let summary: EmojiStyleSummary | undefined;
  mkdirSync(dirname(directory), { recursive: true });
  writeDirectoryAtomic(directory, (folder) => {
    const [train, valid, test] = splits.map((split) => writeSplit(folder, split, textsOf(split), [rendered]));
    summary = {
      name: `Emoji-CN, ${testStyle} alone`,
      description:
        'Pictures of emoji in one art style with Chinese captions, for finetuning. Half of the emoji are the split ' +
        'train, a tenth valid, the rest test; no picture and no caption is in two of them. Captions of train: ' +
        '"label" and "label，tag，tag"; of valid and test: "label". Ids as in Emoji-CN.',
      size,
      style: style.source,
      splits: { train, valid, test },
      leftOut,
      captions,
    };
    writeText(join(folder, 'emoji.json'), JSON.stringify(summary, null, 2));
  });
  return summary!;
}

/** Draws a split for each emoji; those that share a key are in the same one. */
export function assignSplits(
  emoji: readonly Emoji[],
  keysOf: (emoji: Emoji) => readonly string[],
): { splitOf: Map<Emoji, Split>; leftOut: number } {
  const splitOfKey = new Map<string, Split>();
  const splitOf = new Map<Emoji, Split>();
  let leftOut = 0;
  for (const one of emoji) {
    const keys = keysOf(one);
    const found = new Set(keys.flatMap((key) => splitOfKey.get(key) ?? []));
    if (found.size > 1) {
      leftOut++;
      continue;
    }
    const [split = drawSplit(one)] = found;
    splitOf.set(one, split);
    for (const key of keys) splitOfKey.set(key, split);
  }
  return { splitOf, leftOut };
}

function drawSplit({ order }: Emoji): Split {
  const drawn = new Random(0, 'emoji split', order).uniform();
  if (drawn < shares.train) return 'train';
  return drawn < shares.train + shares.valid ? 'valid' : 'test';
}
