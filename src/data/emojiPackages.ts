import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { UserError } from '../errors.js';
import { isInstalled } from '../io/installed.js';

/** The art styles of Emoji-CN: the icon sets `@iconify-json/<style>`. */
export const emojiStyles = ['twemoji', 'noto', 'openmoji', 'fluent-emoji-flat'] as const;
export type EmojiStyle = (typeof emojiStyles)[number];

/** An emoji with its Chinese names. */
export interface Emoji {
  /** position in Unicode's order, unique */
  order: number;
  /** code points as icon sets write them: lower-case hexadecimal joined by -, without variation selectors */
  codePoints: string;
  label: string;
  /** further words for it, without the label */
  tags: string[];
  /** number of its group in emojiGroups; -1 for components, such as hair */
  group: number;
}

/** Unicode's groups by the numbers that emojibase gives them, without that of components, which no style draws alone. */
const groupNumbers = [0, 1, 3, 4, 5, 6, 7, 8, 9];
/** Of group 3, "animals and nature", those from here on are plants. */
const nature = 3;
const firstPlants = 40;

/**
 * Chinese names of ten groups of emoji: Unicode's, with plants apart from animals. They are the words that tags of the
 * group use, so that a model that learnt from Emoji-CN's captions knows them.
 */
export const emojiGroups: readonly string[] = [
  '脸',
  '男人和女人',
  '动物',
  '食物',
  '建筑和旅行',
  '运动和庆祝',
  '工具和物品',
  '符号和按键',
  '旗',
  '花和植物',
];

/** Where something was taken from, as its package states it. */
export interface Source {
  package: string;
  version: string;
  author: string;
  url: string;
  license: string;
}

/** One style's pictures. */
export interface StylePictures {
  style: EmojiStyle;
  draws(emoji: Emoji): boolean;
  /** the picture of an emoji that the style draws, as an SVG of the given width and height in pixels */
  svg(emoji: Emoji, size: number): string;
  source: Source;
}

const captionPackage = 'emojibase-data';
const require = createRequire(import.meta.url);

/** @throws UserError naming the packages to install where some that Emoji-CN is made from are not installed */
export function checkEmojiPackages(): void {
  const missing = [captionPackage, ...emojiStyles.map(packageOf)].filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  throw new UserError(
    'Emoji-CN is made from npm packages that are not installed here: ' +
      `run npm install --save-dev ${missing.join(' ')}`,
  );
}

/**
 * All emoji with their Chinese captions, in Unicode's order. Skin tones, which emojibase nests in the emoji they vary,
 * and what is no emoji by itself (regional indicators) are left out.
 */
export function readEmoji(): { emoji: Emoji[]; source: Source } {
  type Entry = {
    label: string;
    hexcode: string;
    tags?: string[];
    order?: number;
    group?: number;
    subgroup?: number;
  };
  const emoji = readJson<Entry[]>(`${captionPackage}/zh/data.json`)
    .filter((entry): entry is Required<Entry> => entry.group !== undefined)
    .sort((a, b) => a.order - b.order)
    .map(({ order, hexcode, label, tags = [], group, subgroup }) => ({
      order,
      codePoints: withoutVariationSelectors(hexcode.toLowerCase()),
      label,
      tags: tags.filter((tag) => tag !== label),
      group:
        group === nature && subgroup >= firstPlants ? emojiGroups.length - 1 : groupNumbers.indexOf(group),
    }));
  const { version, author, license } = readJson<Record<string, string>>(`${captionPackage}/package.json`);
  const source = {
    package: captionPackage,
    version,
    author: `${author}; labels and tags from the Unicode CLDR project`,
    url: 'https://emojibase.dev',
    license,
  };
  return { emoji, source };
}

export function readStyle(style: EmojiStyle): StylePictures {
  type Box = { left?: number; top?: number; width?: number; height?: number };
  type Icons = Box & { icons: Record<string, Box & { body: string }> };
  type Info = { name: string; author: { name: string; url: string }; license: { spdx: string } };
  const name = packageOf(style);
  const { icons, ...box } = readJson<Icons>(`${name}/icons.json`);
  const iconNames = readJson<Record<string, string>>(`${name}/chars.json`);
  const iconOf = new Map(
    Object.entries(iconNames).map(([codePoints, icon]) => [
      withoutVariationSelectors(codePoints),
      icons[icon],
    ]),
  );
  const info = readJson<Info>(`${name}/info.json`);
  return {
    style,
    draws: ({ codePoints }) => iconOf.has(codePoints),
    svg({ codePoints }, size) {
      const { left = 0, top = 0, width = 16, height = 16, body } = { ...box, ...iconOf.get(codePoints)! };
      return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ' +
        `width="${size}" height="${size}" viewBox="${left} ${top} ${width} ${height}">${body}</svg>`
      );
    },
    source: {
      package: name,
      version: readJson<{ version: string }>(`${name}/package.json`).version,
      author: `${info.name}, ${info.author.name}`,
      url: info.author.url,
      license: info.license.spdx,
    },
  };
}

function packageOf(style: EmojiStyle): string {
  return `@iconify-json/${style}`;
}

/** Packages write an emoji with or without U+FE0F. */
function withoutVariationSelectors(codePoints: string): string {
  return codePoints.replaceAll('-fe0f', '');
}

function readJson<T>(specifier: string): T {
  return JSON.parse(readFileSync(require.resolve(specifier), 'utf8'));
}
