import { Command } from 'commander';
import { z } from 'zod';
import { addSettings, resolveSettings } from '../config/options.js';
import { openDataset } from '../data/dataset.js';
import { UserError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic.js';
import { contactSheetPage, contactSheetPng, drawSamples } from '../report/contactSheet.js';

const previewSchema = z.strictObject({
  split: z.string().default('train').describe('split to draw from'),
  out: z.string().describe('page (.html, with captions) or picture (.png) to write'),
  n: z.number().int().min(1).max(1000).default(24).describe('pairs to show'),
  size: z.number().int().min(16).max(1024).default(224).describe('side of the pictures in pixels'),
  variants: z.number().int().min(0).max(20).default(4).describe('augmented variants of each picture'),
  seed: z.number().int().min(0).default(0).describe('of the draw and of the augmentation'),
});

export function dataPreviewCommand(): Command {
  const preview = new Command('preview')
    .description('show pairs with their pictures, as they are and augmented')
    .argument('<data>', 'dataset');
  addSettings(preview, previewSchema).action(async (data: string, flags: Record<string, unknown>) => {
    const { split, out, ...options } = resolveSettings(previewSchema, undefined, flags);
    const isPage = out.endsWith('.html');
    if (!isPage && !out.endsWith('.png'))
      throw new UserError(`${out}: expected a name that ends in .html or .png`);
    const dataset = await openDataset(data, { split });
    try {
      const samples = await drawSamples(dataset, options);
      const sheet = isPage
        ? await contactSheetPage(`${data}, ${split}`, samples)
        : await contactSheetPng(samples, options.size);
      writeFileAtomic(out, (append) => append(sheet));
      const unreadable = samples.filter(({ pictures }) => typeof pictures === 'string');
      for (const { pictures } of unreadable) process.stderr.write(`${pictures}\n`);
      process.stdout.write(`${out}: ${samples.length} of ${dataset.length} pairs\n`);
      if (unreadable.length > 0) throw new UserError(`${unreadable.length} pictures can't be read`);
    } finally {
      dataset.close();
    }
  });
  return preview;
}
