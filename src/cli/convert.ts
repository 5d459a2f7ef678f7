import { Command } from 'commander';
import { convertCheckpoint } from '../checkpoint/convert.js';
import { convertSchema } from '../config/convert.js';
import { addSettings, resolveSettings } from '../config/options.js';

export function convertCommand(): Command {
  const command = new Command('convert')
    .argument(
      '<in>',
      'checkpoint directory, Hugging Face folder, .pt, .bin or .safetensors file, or official name',
    )
    .argument('<out>', 'file or folder to write');
  addSettings(command, convertSchema).action((from: string, out: string, flags: Record<string, unknown>) => {
    const options = resolveSettings(convertSchema, undefined, flags);
    for (const line of convertCheckpoint(from, out, options)) process.stdout.write(`${line}\n`);
  });
  return command;
}
