import { Command } from 'commander';
import { dataConvertSchema } from '../config/dataConvert.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { convertDataset } from '../data/convert.js';
import { createReporter } from '../io/terminal.js';
import { namesOf } from './names.js';

export function dataConvertCommand(): Command {
  const command = new Command('convert')
    .description('write a data set as tsv and jsonl, or as the LMDB that the Python tools read')
    .argument('<in>', 'data set to read')
    .argument('<out>', 'folder to write; it must not exist');
  addSettings(command, dataConvertSchema).action(
    async (from: string, out: string, flags: Record<string, unknown>) => {
      const { to, split, source } = resolveSettings(dataConvertSchema, undefined, flags);
      const reporter = createReporter();
      const lines = await convertDataset(from, out, {
        to,
        splits: namesOf(split, '--split'),
        source,
        reporter,
      });
      for (const line of lines) reporter.line(line);
    },
  );
  return command;
}
