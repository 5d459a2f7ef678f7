import { Command, Option } from 'commander';
import { addSettings, resolveSettings } from '../config/options.js';
import { pretrainSchema } from '../config/pretrain.js';
import { createReporter, stopOnSignal } from '../io/terminal.js';
import { pretrain } from '../train/pretrain.js';

/** Help of --dry-run. */
export const dryRunHelp =
  'tell settings, parameters, steps, memory and token counts, overfit one batch, and write nothing';

export function pretrainCommand(): Command {
  const command = new Command('pretrain')
    .option('-c, --config <file>', 'YAML file with the settings below; flags override it')
    .addOption(new Option('--stage <number>', 'run one stage alone').choices(['1', '2']))
    .option('--dry-run', dryRunHelp);
  addSettings(command, pretrainSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(pretrainSchema, flags.config as string | undefined, flags);
    const reporter = createReporter();
    const stages = flags.stage === undefined ? ([1, 2] as const) : ([Number(flags.stage) as 1 | 2] as const);
    const dryRun = flags.dryRun === true;
    await pretrain(config, { stages, reporter, dryRun, shouldStop: stopOnSignal(reporter) });
  });
  return command;
}
