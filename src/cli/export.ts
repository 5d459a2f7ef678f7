import { Command } from 'commander';
import { openCheckpoint } from '../checkpoint/open.js';
import { type ExportOnnxConfig, exportOnnxSchema } from '../config/exportOnnx.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { openDataset } from '../data/dataset.js';
import { UserError } from '../errors.js';
import { checkpointSource } from '../export/checkpointSource.js';
import { exportOnnx } from '../export/exportOnnx.js';
import { datasetSamples, type Samples } from '../export/samples.js';
import { createReporter, type Reporter } from '../io/terminal.js';
import type { ModelConfig } from '../model/config.js';
import { readVocabularyFile } from '../text/vocabularyFile.js';
import { exportTensorrtCommand } from './exportTensorrt.js';

export function exportCommand(): Command {
  return new Command('export').addCommand(onnxCommand()).addCommand(exportTensorrtCommand());
}

function onnxCommand(): Command {
  const command = new Command('onnx')
    .description('write the towers as ONNX files, each compared with the model')
    .option('-c, --config <file>', 'YAML file with the settings below; flags override it');
  addSettings(command, exportOnnxSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(exportOnnxSchema, flags.config as string | undefined, flags);
    const reporter = createReporter();
    const source = checkpointSource(config.model, { config: config.modelConfig, warn: reporter.line });
    const vocabularyFile = config.vocabulary ?? openCheckpoint(config.model).vocabulary;
    const vocabulary =
      vocabularyFile === undefined ? undefined : readVocabularyFile(vocabularyFile).vocabulary;
    if (vocabulary === undefined) {
      reporter.line('no vocab.txt came with the weights: without --vocabulary none is written');
    }
    const { files } = await exportOnnx(source, {
      ...config,
      precisions: config.precision,
      vocabulary,
      samples: await givenSamples(config, source.config, vocabulary, reporter),
      report: reporter.line,
    });
    for (const file of files) reporter.line(file);
  });
  return command;
}

async function givenSamples(
  { data, split, samples }: ExportOnnxConfig,
  config: ModelConfig,
  vocabulary: readonly string[] | undefined,
  reporter: Reporter,
): Promise<Samples | undefined> {
  if (data === undefined) return undefined;
  if (vocabulary === undefined) throw new UserError('--data needs a vocabulary: give --vocabulary');
  const dataset = await openDataset(data, { split, warn: reporter.line });
  try {
    return await datasetSamples(dataset, config, vocabulary, samples);
  } finally {
    dataset.close();
  }
}
