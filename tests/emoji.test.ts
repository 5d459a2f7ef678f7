import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { buildEmojiDataset, type CaptionLine, type EmojiStyle, mergeTexts } from '../src/data/emoji.js';
import {
  type Emoji,
  emojiStyles,
  readEmoji,
  readStyle,
  type StylePictures,
} from '../src/data/emojiPackages.js';
import { renderStyle } from '../src/data/emojiPictures.js';
import { assignSplits, buildEmojiStyle } from '../src/data/emojiStyle.js';
import { loadTokenizer, prepareText } from '../src/text/tokenizer.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-emoji-'));
after(() => rmSync(folder, { recursive: true }));

// Fluent Emoji lacks one of the first sixty, 有眼袋.
const progress: number[][] = [];
const options = { limit: 60, size: 32, testStyle: 'fluent-emoji-flat' as EmojiStyle };
const directory = join(folder, 'first');
const summary = await buildEmojiDataset(directory, {
  ...options,
  onProgress: (done, total) => progress.push([done, total]),
});

function lines(name: string): string[] {
  const text = readFileSync(join(directory, name), 'utf8');
  assert.ok(text.endsWith('\n'));
  return text.slice(0, -1).split('\n');
}

function images(split: string): Map<number, Buffer> {
  const rows = lines(`${split}_imgs.tsv`).map((line) => line.split('\t'));
  return new Map(rows.map(([id, base64]) => [Number(id), Buffer.from(base64, 'base64')]));
}

function texts(split: string): CaptionLine[] {
  return lines(`${split}_texts.jsonl`).map((line) => JSON.parse(line));
}

test('the held-out style is the split test, the others are the split train', () => {
  // One of the sixty has no tags, so one caption.
  assert.equal(texts('train').length, 119);
  assert.equal(texts('test').length, 59);
  assert.deepEqual(texts('train').slice(0, 2), [
    { text_id: 10, text: '嘿嘿', image_ids: [10, 11, 12] },
    { text_id: 11, text: '嘿嘿，笑脸，脸，高兴', image_ids: [10, 11, 12] },
  ]);
  assert.deepEqual(texts('test')[0], { text_id: 10, text: '嘿嘿', image_ids: [13] });
  assert.ok(texts('train').some(({ text }) => text === '有眼袋'));
  assert.ok(!texts('test').some(({ text }) => text === '有眼袋'));
  assert.deepEqual(summary.splits, {
    train: { images: 180, texts: 119, pairs: 357 },
    test: { images: 59, texts: 59, pairs: 59 },
  });
  assert.deepEqual(summary.testedEmojiByTrainingStyles, { 3: 59 });
});

test('captions of a split are distinct and name pictures of that split', () => {
  for (const split of ['train', 'test']) {
    const captions = texts(split);
    assert.equal(new Set(captions.map(({ text }) => text)).size, captions.length);
    assert.equal(new Set(captions.map(({ text_id }) => text_id)).size, captions.length);
    const named = new Set(captions.flatMap(({ image_ids }) => image_ids));
    assert.deepEqual(
      [...named].sort((a, b) => a - b),
      [...images(split).keys()],
    );
  }
});

test('pictures are RGB on white', async () => {
  for (const bytes of [...images('train').values()].slice(0, 3)) {
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual([info.width, info.height, info.channels], [32, 32, 3]);
    assert.deepEqual([...data.subarray(0, 3)], [255, 255, 255]);
    assert.ok(data.some((value) => value < 128));
  }
});

test('the vocabulary covers every caption', async () => {
  const tokenizer = await loadTokenizer(directory);
  assert.equal(tokenizer.vocabularySize, summary.vocabularySize);
  for (const { text } of [...texts('train'), ...texts('test')]) {
    assert.ok(
      !tokenizer.encode(text.toLowerCase(), 100).includes(tokenizer.vocabulary.indexOf('[UNK]')),
      text,
    );
  }
});

test('emoji.json states sources and licences', () => {
  assert.deepEqual(JSON.parse(readFileSync(join(directory, 'emoji.json'), 'utf8')), summary);
  assert.deepEqual(
    summary.styles.map(({ license, split }) => [license, split]),
    [
      ['CC-BY-4.0', 'train'],
      ['Apache-2.0', 'train'],
      ['CC-BY-SA-4.0', 'train'],
      ['MIT', 'test'],
    ],
  );
  assert.deepEqual(summary.captions.package, 'emojibase-data');
  for (const { version, author, url } of [...summary.styles, summary.captions]) {
    assert.match(version, /^\d+\.\d+/);
    assert.match(url, /^https:/);
    assert.ok(author.length > 0);
  }
});

test('progress counts every picture', () => {
  assert.deepEqual(
    progress,
    Array.from({ length: 239 }, (_, i) => [i + 1, 239]),
  );
});

test('a second build gives the same bytes', async () => {
  const second = join(folder, 'second');
  await buildEmojiDataset(second, options);
  const names = [
    'emoji.json',
    'test_imgs.tsv',
    'test_texts.jsonl',
    'train_imgs.tsv',
    'train_texts.jsonl',
    'vocab.txt',
  ];
  assert.deepEqual(readdirSync(second).sort(), names);
  for (const name of names) {
    assert.ok(readFileSync(join(second, name)).equals(readFileSync(join(directory, name))), name);
  }
});

test('an unknown art style is refused before anything is written', async () => {
  const testStyle = 'apple' as EmojiStyle;
  await assert.rejects(buildEmojiDataset(join(folder, 'none'), { testStyle }), {
    name: 'UserError',
    message: "art style 'apple': expected one of twemoji, noto, openmoji, fluent-emoji-flat",
  });
  assert.ok(!readdirSync(folder).includes('none'));
});

test('packages that are not installed are named with the command that installs them', async () => {
  // A copy of the module where no node_modules folder is above it.
  const compiled = fileURLToPath(new URL('../src/', import.meta.url));
  const copy = join(folder, 'copy');
  for (const part of ['data', 'io']) mkdirSync(join(copy, part), { recursive: true });
  writeFileSync(join(copy, 'package.json'), '{"type":"module"}');
  const modules = ['errors.js', 'io/installed.js', 'data/emojiPackages.js'];
  for (const name of modules) cpSync(join(compiled, name), join(copy, name));
  const { checkEmojiPackages } = await import(pathToFileURL(join(copy, 'data', 'emojiPackages.js')).href);
  assert.throws(checkEmojiPackages, {
    name: 'UserError',
    message: /npm install --save-dev emojibase-data @iconify-json\/twemoji @iconify-json\/noto .*flat$/,
  });
});

test('every style finds its emoji; every emoji has a caption of its own and no skin tone', () => {
  const { emoji } = readEmoji();
  const drawn = emojiStyles.map(readStyle).map((style) => emoji.filter((one) => style.draws(one)).length);
  assert.deepEqual(drawn, [1914, 1652, 1914, 1594]);
  assert.equal(new Set(emoji.map(({ label }) => label)).size, emoji.length);
  assert.equal(new Set(emoji.map(({ order }) => order)).size, emoji.length);
  assert.ok(!emoji.some(({ codePoints }) => /.-1f3f[b-f]/.test(codePoints)));
});

test('emoji that look the same share an image', async () => {
  const emoji: Emoji[] = [1, 2, 3, 4].map((order) => ({
    order,
    codePoints: '',
    label: '',
    tags: [],
    group: 0,
  }));
  const style: StylePictures = {
    style: 'noto',
    draws: ({ order }) => order !== 2,
    svg: ({ order }, size) =>
      `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><circle r="${order === 3 ? 5 : 3}"/></svg>`,
    source: { package: '', version: '', author: '', url: '', license: '' },
  };
  let pictures = 0;
  const { images, idOf } = await renderStyle(
    style,
    emoji,
    16,
    ({ order }) => order * 10,
    () => pictures++,
  );
  assert.deepEqual([...images.keys()], [10, 30]);
  assert.deepEqual(
    emoji.map((one) => idOf.get(one)),
    [10, undefined, 30, 10],
  );
  assert.equal(pictures, 3);
});

test('captions equal to the tokenizer become one text with all their images', () => {
  assert.deepEqual(
    mergeTexts([
      { text_id: 1, text: 'OK', image_ids: [1, 2] },
      { text_id: 2, text: '好', image_ids: [3] },
      { text_id: 3, text: 'ok', image_ids: [2, 4] },
    ]),
    [
      { text_id: 1, text: 'OK', image_ids: [1, 2, 4] },
      { text_id: 2, text: '好', image_ids: [3] },
    ],
  );
});

test('one style alone is split so that no picture and no caption is in two splits', async () => {
  const alone = join(folder, 'alone');
  const { splits, leftOut } = await buildEmojiStyle(alone, { limit: 120, size: 16 });
  const names = ['train', 'valid', 'test'] as const;
  const read = (file: string) => readFileSync(join(alone, file), 'utf8').trimEnd().split('\n');
  const keys = names.map((split) => {
    const lines = read(`${split}_texts.jsonl`).map((line) => JSON.parse(line) as CaptionLine);
    const pictures = read(`${split}_imgs.tsv`).map((line) => line.split('\t'));
    // Every picture has a text, and only those of the split.
    const named = new Set(lines.flatMap(({ image_ids }) => image_ids.map(String)));
    assert.deepEqual([...named].sort(), pictures.map(([id]) => id).sort());
    return [...lines.map(({ text }) => prepareText(text)), ...pictures.map(([, png]) => png)];
  });
  const all = keys.flatMap((some) => [...new Set(some)]);
  assert.equal(new Set(all).size, all.length);
  const pictures = names.map((split) => splits[split].images);
  assert.ok(pictures[0] > pictures[2] && pictures[2] > pictures[1] && pictures[1] > 0, String(pictures));
  assert.ok(leftOut + pictures[0] + pictures[1] + pictures[2] <= 120);
  // Train has the tags, too; the others the label alone.
  assert.ok(splits.train.texts > 1.5 * splits.train.images);
  assert.ok(splits.test.texts <= splits.test.images);
});

test('emoji that share a key with two splits are left out', () => {
  const emoji = Array.from({ length: 40 }, (_, i): Emoji => ({ ...readEmoji().emoji[i], order: i + 1 }));
  const free = assignSplits(emoji, (one) => [String(one.order)]);
  assert.equal(free.leftOut, 0);
  const inSplit = (split: string) => emoji.find((one) => free.splitOf.get(one) === split)!;
  const [train, test] = [inSplit('train'), inSplit('test')];
  const last = emoji.at(-1)!;
  const keysOf = (extra: Emoji[]) => (one: Emoji) =>
    one === last ? extra.map(({ order }) => String(order)) : [String(one.order)];
  assert.equal(assignSplits(emoji, keysOf([test])).splitOf.get(last), 'test');
  const torn = assignSplits(emoji, keysOf([train, test]));
  assert.equal(torn.leftOut, 1);
  assert.ok(!torn.splitOf.has(last));
});
