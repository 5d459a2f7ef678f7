import { Command } from 'commander';
import { addSettings, resolveSettings } from '../config/options.js';
import { similaritySchema } from '../config/search.js';
import { similarities } from '../search/similarity.js';
import { openEmbedder } from './embedder.js';

const ONE_TEXT =
  'There is one text: its probability is 1 whatever the picture shows. Give several to compare.';

export function similarityCommand(): Command {
  const command = new Command('similarity')
    .argument('<image>', 'picture file')
    .argument('<texts...>', 'texts to compare')
    .option('--image <file>', 'a further picture; may be repeated', (file, files: string[] = []) => [
      ...files,
      file,
    ]);
  return addSettings(command, similaritySchema).action(
    async (image: string, texts: string[], flags: Record<string, unknown>) => {
      const { json, ...settings } = resolveSettings(similaritySchema, undefined, flags);
      const images = [image, ...((flags.image as string[] | undefined) ?? [])];
      const warn = (line: string) => process.stderr.write(`${line}\n`);
      const embedder = await openEmbedder(settings, warn);
      try {
        const pixels = await Promise.all(images.map((path) => embedder.pixels(path)));
        const { cosines, probabilities } = similarities(
          await embedder.pictures(pixels),
          await embedder.texts(texts),
          embedder.dimension,
          embedder.model.logitScale,
        );
        const results = images.map((name, i) => ({
          image: name,
          texts: texts.map((text, t) => ({
            text,
            cosine: cosines[i * texts.length + t],
            probability: probabilities[i * texts.length + t],
          })),
        }));
        if (json) process.stdout.write(`${JSON.stringify(results, null, 1)}\n`);
        else for (const result of results) process.stdout.write(tableOf(result));
        if (texts.length === 1) warn(ONE_TEXT);
      } finally {
        await embedder.model.dispose();
      }
    },
  );
}

function tableOf(result: { image: string; texts: { text: string; cosine: number; probability: number }[] }) {
  const rows = result.texts.map(
    ({ text, cosine, probability }) =>
      `${cosine.toFixed(4).padStart(8)}  ${(100 * probability).toFixed(2).padStart(9)} %  ${text}\n`,
  );
  return `${result.image}\n  cosine  probability  text\n${rows.join('')}`;
}
