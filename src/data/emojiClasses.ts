import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeDirectoryAtomic } from '../io/atomic.js';
import {
  checkEmojiPackages,
  type EmojiStyle,
  emojiGroups,
  emojiStyles,
  readEmoji,
  readStyle,
} from './emojiPackages.js';
import { renderStyle } from './emojiPictures.js';

/**
 * Builds Emoji-CN for classification, in the form of ELEVATER's datasets: the pictures of the split `test` of Emoji-CN,
 * an art style that no model trained on it has seen, in folders by ten groups, and label_cn.txt with the groups' Chinese
 * names. The same packages give the same bytes.
 *
 * @param directory must not exist
 * @throws UserError where a package isn't installed
 */
export async function buildEmojiClasses(
  directory: string,
  testStyle: EmojiStyle,
  size: number,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<void> {
  checkEmojiPackages();
  const training = emojiStyles.filter((style) => style !== testStyle).map(readStyle);
  const style = readStyle(testStyle);
  const tested = readEmoji().emoji.filter(
    (one) => style.draws(one) && training.some((other) => other.draws(one)),
  );
  let done = 0;
  const { images, idOf } = await renderStyle(
    style,
    tested,
    size,
    ({ order }) => order,
    () => onProgress(++done, tested.length),
  );
  mkdirSync(dirname(directory), { recursive: true });
  writeDirectoryAtomic(directory, (folder) => {
    writeFileSync(join(folder, 'label_cn.txt'), `${emojiGroups.join('\n')}\n`);
    for (const group of emojiGroups.keys())
      mkdirSync(join(folder, 'test', String(group)), { recursive: true });
    // Emoji with the same picture share the first one's, and its group.
    for (const one of tested) {
      const id = one.order;
      if (idOf.get(one) !== id) continue;
      const path = join(folder, 'test', String(one.group), `${String(id).padStart(4, '0')}.png`);
      writeFileSync(path, Buffer.from(images.get(id)!, 'base64'));
    }
  });
}
