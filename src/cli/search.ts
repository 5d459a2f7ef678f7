import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { addSettings, resolveSettings } from '../config/options.js';
import { searchSchema } from '../config/search.js';
import { pictureExtension } from '../data/pictureExtension.js';
import { UserError } from '../errors.js';
import { writeSearchReport } from '../report/searchReport.js';
import { openPictures } from '../search/indexSource.js';
import { openSearch } from '../search/openSearch.js';
import { readIndex } from '../search/pictureIndex.js';
import { openIndexEmbedder } from './embedder.js';

export function searchCommand(): Command {
  const command = new Command('search')
    .argument('<index>', 'folder that cn-clip index made')
    .argument('<query>', 'a text, or a picture file');
  return addSettings(command, searchSchema).action(
    async (folder: string, query: string, flags: Record<string, unknown>) => {
      const { k, search: choice, json, html, ...settings } = resolveSettings(searchSchema, undefined, flags);
      const isPicture = pictureExtension(query) !== undefined;
      if (isPicture && !existsSync(query)) throw new UserError(`${query}: there is no such picture`);
      const index = readIndex(folder);
      const embedder = await openIndexEmbedder(index, settings, (line) => process.stderr.write(`${line}\n`));
      try {
        const features = isPicture
          ? await embedder.pictures([await embedder.pixels(query)])
          : await embedder.texts([query]);
        const { search, kind, description } = await openSearch(folder, index, choice);
        const { indices, scores } = await search.topK(features, k);
        await search.dispose();
        const found = Array.from(indices, (row, i) => ({
          rank: i + 1,
          cosine: scores[i],
          picture: row,
          id: index.pictures[row].id,
        }));
        if (json)
          process.stdout.write(`${JSON.stringify({ query, search: kind, results: found }, null, 1)}\n`);
        else {
          process.stderr.write(`${description}\n`);
          process.stdout.write('rank   cosine  picture\n');
          for (const { rank, cosine, id } of found) {
            process.stdout.write(`${String(rank).padStart(4)}  ${cosine.toFixed(4).padStart(7)}  ${id}\n`);
          }
        }
        if (html !== undefined) {
          const pictures = await openPictures(index.manifest.source, index.pictures);
          try {
            await writeSearchReport(html, {
              query,
              isPicture,
              found,
              pictures,
              description,
              total: index.pictures.length,
            });
          } finally {
            pictures.close();
          }
        }
      } finally {
        await embedder.model.dispose();
      }
    },
  );
}
