import { Command } from 'commander';
import { exportTensorrtSchema } from '../config/exportTensorrt.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { requireExport } from '../export/exportedFiles.js';
import { exportTensorrt, tensorrtCommands } from '../export/exportTensorrt.js';
import { createReporter } from '../io/terminal.js';

export function exportTensorrtCommand(): Command {
  const command = new Command('tensorrt')
    .description('build TensorRT engines of exported ONNX files, each compared with its file')
    .option('-c, --config <file>', 'YAML file with the settings below; flags override it');
  return addSettings(command, exportTensorrtSchema).action(async (flags: Record<string, unknown>) => {
    const config = resolveSettings(exportTensorrtSchema, flags.config as string | undefined, flags);
    const { model, precision: precisions, batch, textLength, dryRun, ...rest } = config;
    const reporter = createReporter();
    const prefix = requireExport(model);
    const options = {
      ...rest,
      precisions,
      shapes: { batch, textLength },
      report: reporter.line,
    };
    const lines = dryRun ? tensorrtCommands(prefix, options) : await exportTensorrt(prefix, options);
    for (const line of lines) reporter.line(line);
  });
}
