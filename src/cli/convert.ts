import { existsSync } from 'node:fs';
import { parse } from 'node:path';
import { Command } from 'commander';
import { readTensors, weightsPath } from '../checkpoint/checkpoint.js';
import { writeTorchCheckpoint } from '../checkpoint/torch/writeTorch.js';
import { convertSchema } from '../config/convert.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { UserError } from '../errors.js';
import { writeSafetensors } from '../io/safetensors.js';

export function convertCommand(): Command {
  const command = new Command('convert')
    .description('write the weights of a checkpoint in another form, with the same names and bits')
    .argument('<in>', 'checkpoint directory, .safetensors or .pt file')
    .argument('<out>', 'file to write');
  addSettings(command, convertSchema).action((from: string, out: string, flags: Record<string, unknown>) => {
    const { to } = resolveSettings(convertSchema, undefined, flags);
    if (existsSync(out)) throw new UserError(`${out} exists already: name another file`);
    const weights = readTensors(weightsPath(from));
    // Where training stood is not part of the weights: to the reference the file is a run that has not begun.
    if (to === 'pt') writeTorchCheckpoint(out, { weights, epoch: 0, step: 0, name: parse(out).name });
    else writeSafetensors(out, weights);
    const widened = [...weights.values()].filter(({ dtype }) => dtype === 'F16' || dtype === 'BF16').length;
    const note = widened === 0 ? '' : `, ${widened} of half precision widened to float32`;
    process.stdout.write(`${out}: ${weights.size} tensors${note}\n`);
  });
  return command;
}
