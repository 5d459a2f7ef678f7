import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { z } from 'zod';
import { addSettings, resolveSettings } from '../config/options.js';
import { openDataset } from '../data/dataset.js';
import { buildEmojiDataset, defaultTestStyle, emojiStyles } from '../data/emoji.js';
import { buildEmojiStyle } from '../data/emojiStyle.js';
import { UserError } from '../errors.js';
import { writeText } from '../io/atomic.js';
import { createReporter, progress } from '../io/terminal.js';
import { prepareText } from '../text/tokenizer.js';
import { buildVocabulary } from '../text/vocabulary.js';
import { dataConvertCommand } from './dataConvert.js';
import { dataPreviewCommand } from './dataPreview.js';
import { validateCommand } from './validate.js';

const emojiSchema = z.strictObject({
  out: z.string().describe('folder to build the data set in'),
  size: z.number().int().min(16).max(1024).default(64).describe('side of the pictures in pixels'),
  testStyle: z.enum(emojiStyles).default(defaultTestStyle).describe('art style held out as the test split'),
  alone: z
    .boolean()
    .default(false)
    .describe('build the held-out style alone, with splits train, valid and test, to finetune on'),
});

const vocabularySchema = z.strictObject({
  data: z.string().describe('dataset: folder, file, or pattern such as shard-{000..099}.tar'),
  split: z.string().default('train').describe('split whose texts are read'),
  out: z.string().describe('vocab.txt to write'),
  maxSize: z.number().int().min(6).default(21128).describe('word pieces at most'),
  minFrequency: z.number().int().positive().default(1).describe('occurrences a word needs'),
});

export function dataCommand(): Command {
  const command = new Command('data');
  const emoji = new Command('emoji').description('build Emoji-CN: pictures of emoji with Chinese captions');
  addSettings(emoji, emojiSchema).action(async (flags: Record<string, unknown>) => {
    const { out, size, testStyle, alone } = resolveSettings(emojiSchema, undefined, flags);
    const build = alone ? buildEmojiStyle : buildEmojiDataset;
    const reporter = createReporter();
    const onProgress = progress(reporter, 'pictures');
    const summary = await build(out, { size, testStyle, onProgress });
    reporter.end();
    for (const [split, { images, texts }] of Object.entries(summary.splits)) {
      reporter.line(`${split}: ${images} images, ${texts} texts`);
    }
    reporter.line(`${out}: sources and licences are in emoji.json`);
  });
  const vocabulary = new Command('build-vocab').description("make a vocab.txt from a split's texts");
  addSettings(vocabulary, vocabularySchema).action(async (flags: Record<string, unknown>) => {
    const { data, split, out, maxSize, minFrequency } = resolveSettings(vocabularySchema, undefined, flags);
    if (existsSync(out)) throw new UserError(`${out} exists already: name another file`);
    const dataset = await openDataset(data, { split });
    const pieces = buildVocabulary(captions(dataset.texts()), { maxSize, minFrequency });
    dataset.close();
    writeText(out, pieces.join('\n'));
    process.stdout.write(`${out}: ${pieces.length} word pieces\n`);
  });
  return command
    .addCommand(emoji)
    .addCommand(vocabulary)
    .addCommand(dataConvertCommand())
    .addCommand(dataPreviewCommand())
    .addCommand(validateCommand());
}

function* captions(texts: Iterable<{ text: string }>): Generator<string> {
  for (const { text } of texts) yield prepareText(text);
}
