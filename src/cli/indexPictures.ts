import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { addSettings, resolveSettings } from '../config/options.js';
import { indexSchema } from '../config/search.js';
import { findExport } from '../export/exportedFiles.js';
import { createReporter, stopOnSignal } from '../io/terminal.js';
import { fingerprintOf } from '../model/fingerprint.js';
import { buildIndex } from '../search/buildIndex.js';
import { describeApproximate } from '../search/openSearch.js';
import { required } from './classificationModel.js';
import { openEmbedder } from './embedder.js';

export function indexCommand(): Command {
  const command = new Command('index').argument(
    '<dir>',
    'folder of pictures, with its folders; with --split a dataset',
  );
  return addSettings(command, indexSchema).action(async (dir: string, flags: Record<string, unknown>) => {
    const config = resolveSettings(indexSchema, undefined, flags);
    const reporter = createReporter();
    const model = required(config.model, 'model');
    const out = resolve(required(config.out, 'out'));
    const embedder = await openEmbedder({ ...config, optimizeFor: 'throughput' }, reporter.line);
    try {
      const { contextLength, batchSize, workers, search, split, source } = config;
      const result = await buildIndex(out, {
        model: embedder.model,
        manifest: {
          dimension: embedder.dimension,
          fingerprint: fingerprintOf(embedder.model, embedder.tokenizer, contextLength),
          model: {
            location: placeOf(model),
            precision: config.precision,
            config: config.modelConfig === undefined ? undefined : placeOf(config.modelConfig),
            vocabulary: config.vocabulary === undefined ? undefined : resolve(config.vocabulary),
            contextLength,
          },
          source: { path: placeOf(dir), split, source },
        },
        batchSize,
        workers,
        search,
        stopped: stopOnSignal(reporter, 'the batch under way is kept'),
        reporter,
      });
      const counts = `${result.encoded} encoded, ${result.kept} kept, ${result.broken} broken`;
      if (result.pictures === undefined) reporter.line(`stopped (${counts}): the same command goes on`);
      else {
        reporter.line(`${out}: ${result.pictures} pictures (${counts})`);
        if (result.graph !== undefined) reporter.line(describeApproximate(result.graph.recallAt10));
      }
    } finally {
      await embedder.model.dispose();
    }
  });
}

/** A path that is right from any folder; the name of an official model or a pattern as it is. */
function placeOf(location: string): string {
  return existsSync(location) || findExport(location) !== undefined ? resolve(location) : location;
}
