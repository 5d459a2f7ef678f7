import { Command } from 'commander';
import { interpolateCheckpoints } from '../checkpoint/interpolate.js';
import { interpolateSchema } from '../config/interpolate.js';
import { addSettings, resolveSettings } from '../config/options.js';

export function interpolateCommand(): Command {
  const command = new Command('interpolate')
    .argument('<a>', 'checkpoint of any form, such as the model before finetuning')
    .argument('<b>', 'checkpoint of the same architecture, such as the finetuned model');
  addSettings(command, interpolateSchema).action((a: string, b: string, flags: Record<string, unknown>) => {
    const { alpha, out } = resolveSettings(interpolateSchema, undefined, flags);
    const alphas = alpha.split(',').map(Number);
    for (const directory of interpolateCheckpoints(a, b, out, alphas)) process.stdout.write(`${directory}\n`);
  });
  return command;
}
