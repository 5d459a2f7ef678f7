import { cpus } from 'node:os';
import { Command } from 'commander';
import { benchmarkSchema } from '../config/benchmark.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { benchmarkTowers } from '../export/benchmark.js';
import { writeText } from '../io/atomic.js';
import { createReporter } from '../io/terminal.js';
import { installedVersion, version } from '../io/version.js';

export function benchmarkCommand(): Command {
  const command = new Command('benchmark').option(
    '-c, --settings <file>',
    'YAML file with the settings below; flags override it',
  );
  return addSettings(command, benchmarkSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(benchmarkSchema, flags.settings as string | undefined, flags);
    const reporter = createReporter();
    const towers = await benchmarkTowers({ ...config, report: reporter.line });
    if (config.out === undefined) return;
    const versions = {
      'cn-clip': version,
      'onnxruntime-node': installedVersion('onnxruntime-node'),
      node: process.version,
    };
    const { model, textLength, warmup, runs } = config;
    const machine = { processor: cpus()[0]?.model, cores: cpus().length };
    writeText(
      config.out,
      JSON.stringify({ model, textLength, warmup, runs, machine, versions, towers }, null, 2),
    );
    reporter.line(config.out);
  });
}
