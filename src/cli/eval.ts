import { join } from 'node:path';
import { Command } from 'commander';
import { UserError } from '../errors.js';
import { benchmarks } from '../eval/classification/benchmarks.js';
import { retrievalBenchmarks } from '../eval/retrievalBenchmarks.js';
import { evalElevaterCommand } from './evalElevater.js';
import { evalRetrievalCommand } from './evalRetrieval.js';

/** A way to evaluate: how its command is made, the flag that names the dataset, and the names that it knows. */
const tasks = [
  { name: 'retrieval', command: evalRetrievalCommand, flag: '--dataset', datasets: retrievalBenchmarks },
  { name: 'classification', command: evalElevaterCommand, flag: '--datasets', datasets: benchmarks },
];

/** The shorthand that picks eval-retrieval or eval-elevater by the dataset's name; both where both know it. */
export function evalCommand(): Command {
  return new Command('eval')
    .argument('<dataset>', tasks.map(({ name, datasets }) => `${name}: ${listOf(datasets)}`).join('; '))
    .option('--data <folder>', 'folder with the datasets', 'data')
    .option('--out <folder>', 'folder for the results (default: runs/eval/DATASET)')
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText('after', '\nAll other options are those of eval-retrieval or eval-elevater.')
    .action(async (dataset: string, { data, out }: { data: string; out?: string }, command: Command) => {
      const chosen = tasks.filter(({ datasets }) => datasets.has(dataset));
      if (chosen.length === 0) {
        const known = tasks.map(({ name, datasets }) => `of ${name} ${listOf(datasets)}`);
        throw new UserError(`unknown dataset "${dataset}": expected one ${known.join('; or ')}`);
      }
      const folder = out ?? join('runs', 'eval', dataset);
      for (const { name, command: make, flag } of chosen) {
        const target = chosen.length === 1 ? folder : join(folder, name);
        const own = [flag, dataset, '--data', data, '--out', target];
        await make().parseAsync([...own, ...command.args.slice(1)], { from: 'user' });
      }
    });
}

function listOf(datasets: ReadonlyMap<string, unknown>): string {
  return [...datasets.keys()].join(', ');
}
