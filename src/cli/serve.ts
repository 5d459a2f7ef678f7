import { Command } from 'commander';
import { addSettings, resolveSettings } from '../config/options.js';
import { serveSchema } from '../config/search.js';
import { openPictures } from '../search/indexSource.js';
import { openSearch } from '../search/openSearch.js';
import { readIndex } from '../search/pictureIndex.js';
import { createApp } from '../serve/app.js';
import { startServer } from '../serve/server.js';
import { SearchService } from '../serve/service.js';
import { openIndexEmbedder } from './embedder.js';

export function serveCommand(): Command {
  const command = new Command('serve').argument('<index>', 'folder that cn-clip index made');
  return addSettings(command, serveSchema).action(async (folder: string, flags: Record<string, unknown>) => {
    const config = resolveSettings(serveSchema, undefined, flags);
    const index = readIndex(folder);
    const pictures = await openPictures(index.manifest.source, index.pictures);
    const embedder = await openIndexEmbedder(index, config, (line) => process.stderr.write(`${line}\n`));
    const { search, description } = await openSearch(folder, index, config.search);
    try {
      const app = createApp(new SearchService(index, search, embedder, pictures, config), config);
      const server = await startServer(app, config.host, config.port);
      const stopped = signalled();
      process.stdout.write(
        `${server.url} serves ${index.pictures.length} pictures (${description}); Ctrl-C ends it\n`,
      );
      const signal = await stopped;
      process.stdout.write(`${signal}: finishing what is under way\n`);
      await server.close();
    } finally {
      await search.dispose();
      await embedder.model.dispose();
      pictures.close();
    }
  });
}

/** The first SIGINT or SIGTERM; a second one ends the process at once. */
function signalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
  });
}
