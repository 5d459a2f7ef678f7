import { Command } from 'commander';
import { type ExtractFeaturesConfig, extractFeaturesSchema } from '../config/extractFeatures.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { UserError } from '../errors.js';
import { type Extraction, extractImages, extractTexts } from '../eval/features/extract.js';
import { mergeFeatures } from '../eval/features/merge.js';
import { openPictures } from '../eval/features/pictures.js';
import { claimFolder } from '../eval/features/record.js';
import { readTexts } from '../eval/features/texts.js';
import { createReporter, type Reporter } from '../io/terminal.js';
import { fingerprintOf } from '../model/fingerprint.js';
import { openEncoder } from './encoder.js';

export function extractFeaturesCommand(): Command {
  const command = new Command('extract-features').option(
    '--merge <folders...>',
    'join the features of all shards into --out, in place of extracting',
  );
  return addSettings(command, extractFeaturesSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(extractFeaturesSchema, undefined, flags);
    const reporter = createReporter();
    if (flags.merge === undefined) await extract(config, reporter);
    else for (const file of mergeFeatures(flags.merge as string[], config.out)) reporter.line(file);
  });
}

async function extract(config: ExtractFeaturesConfig, reporter: Reporter): Promise<void> {
  const { model: location, images, texts: textFile, out, contextLength } = config;
  if (location === undefined) throw new UserError('give --model, or --merge with the folders of all shards');
  if (images === undefined && textFile === undefined) throw new UserError('give --images, --texts, or both');
  const [index, count] = config.shard.split('/').map(Number);
  if (index >= count) throw new UserError(`--shard ${config.shard}: shards are counted from 0`);
  // What is wrong with the inputs is told before the model is loaded.
  const texts = textFile === undefined ? undefined : readTexts(textFile);
  const pictures =
    images === undefined
      ? undefined
      : await openPictures(images, { split: config.split, source: config.source, warn: reporter.line });
  const { model, tokenizer } = await openEncoder(
    location,
    { ...config, optimizeFor: 'throughput' },
    reporter.line,
  );
  try {
    reporter.line(`${model.description}, ${model.parameterCount.toLocaleString('en')} parameters`);
    const fingerprint = fingerprintOf(model, tokenizer, contextLength);
    const shard = { index, count };
    const claim = claimFolder(out, fingerprint, shard);
    const { batchSize, format: formats } = config;
    const extraction: Extraction = { model, fingerprint, out, formats, batchSize, shard, claim, reporter };
    if (texts !== undefined) await extractTexts(extraction, texts, tokenizer, contextLength);
    if (pictures !== undefined) await extractImages(extraction, pictures, config.workers);
  } finally {
    pictures?.close();
    await model.dispose();
  }
}
