import { statSync } from 'node:fs';
import { Command } from 'commander';
import { downloadSchema } from '../config/download.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { cachedModel } from '../hub/cache.js';
import { downloadModel } from '../hub/download.js';
import { officialModels } from '../hub/models.js';
import { createReporter } from '../io/terminal.js';

export function downloadCommand(): Command {
  const command = new Command('download').argument(
    '[model]',
    officialModels.map(({ name }) => name).join(', '),
  );
  addSettings(command, downloadSchema).action(
    async (name: string | undefined, flags: Record<string, unknown>) => {
      const settings = resolveSettings(downloadSchema, undefined, flags);
      const reporter = createReporter();
      if (name === undefined) {
        for (const line of modelTable()) reporter.line(line);
        return;
      }
      const { weights, isNew } = await downloadModel(name, { ...settings, reporter });
      reporter.line(isNew ? `${name}: ${weights}` : `${name} is there already: ${weights}`);
    },
  );
  return command;
}

/** The official models, and where the cached ones are. */
function modelTable(): string[] {
  const row = (cells: (string | number)[]) =>
    [12, 10, 9, 10, 9, 0].map((width, column) => String(cells[column]).padEnd(width)).join('  ');
  const rows = officialModels.map(({ name, parameters, embeddingSize, resolution }) => {
    const cached = cachedModel(name);
    const size = cached === undefined ? '–' : `${Math.round(statSync(cached.weights).size / 1e6)} MB`;
    const where = cached?.weights ?? `not in the cache: cn-clip download ${name}`;
    return row([name, parameters, embeddingSize, resolution, size, where]);
  });
  return [row(['model', 'parameters', 'embedding', 'resolution', 'file', 'where']), ...rows];
}
