import { Command } from 'commander';
import { finetuneSchema } from '../config/finetune.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { createReporter, stopOnSignal } from '../io/terminal.js';
import { finetune } from '../train/finetune.js';
import { dryRunHelp } from './pretrain.js';

export function finetuneCommand(): Command {
  const command = new Command('finetune')
    .option('-c, --config <file>', 'YAML file with the settings below; flags override it')
    .option('--dry-run', dryRunHelp);
  addSettings(command, finetuneSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(finetuneSchema, flags.config as string | undefined, flags);
    const reporter = createReporter();
    const dryRun = flags.dryRun === true;
    await finetune(config, { reporter, dryRun, shouldStop: stopOnSignal(reporter) });
  });
  return command;
}
