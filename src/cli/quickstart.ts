import { Command } from 'commander';
import { summarize } from '../eval/retrievalSummary.js';
import { textTable } from '../eval/retrievalTable.js';
import { createReporter, stopOnSignal } from '../io/terminal.js';
import { quickstart, quickstartConfig } from '../quickstart.js';

export function quickstartCommand(): Command {
  return new Command('quickstart')
    .option('-o, --output <folder>', 'folder for data, run and report', 'runs/quickstart')
    .option('-c, --config <file>', 'YAML file of the recipe', quickstartConfig)
    .action(async ({ output, config }: { output: string; config: string }) => {
      const reporter = createReporter();
      const result = await quickstart(output, config, reporter, stopOnSignal(reporter));
      if (result === undefined) return;
      const name = { model: 'quickstart', dataset: 'emoji-cn', split: 'test', setup: 'zero-shot' } as const;
      for (const line of textTable([summarize(name, result.evaluation)])) reporter.line(line);
      reporter.line(`report: ${result.report}`);
    });
}
