import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDataset } from '../src/data/dataset.js';
import { FileWriter } from '../src/io/fileWriter.js';
import { parseFlags } from './flags.js';

/**
 * How long opening a tsv dataset takes, the first time and afterwards, and the peak memory of a process that does it.
 * Pictures are a few random bytes: none is read. With `--open` it is that process.
 */
const { values } = parseFlags({
  options: {
    pairs: { type: 'string', default: '1000000' },
    folder: { type: 'string', default: '/tmp/cn-clip-bench' },
    open: { type: 'boolean', default: false },
  },
});
const count = Number(values.pairs);

if (values.open) {
  const began = performance.now();
  const dataset = await openDataset(values.folder, { warn: console.error });
  const seconds = (performance.now() - began) / 1000;
  const { textId } = dataset.caption(dataset.length - 1);
  const megabytes = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ pairs: dataset.length, seconds, megabytes, lastTextId: textId }));
  dataset.close();
} else {
  build(values.folder);
  for (const what of ['first', 'again', 'again']) {
    const program = [fileURLToPath(import.meta.url), '--open', '--folder', values.folder];
    const { stdout } = spawnSync(process.execPath, program, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { pairs, seconds, megabytes } = JSON.parse(stdout);
    console.log(
      `${what}: ${pairs} pairs opened in ${seconds.toFixed(2)} s, at most ${megabytes.toFixed(0)} MiB`,
    );
  }
  rmSync(values.folder, { recursive: true });
}

/** One text an image, in another order. */
function build(folder: string): void {
  if (existsSync(folder)) throw new Error(`${folder} exists already: name another one with --folder`);
  mkdirSync(folder);
  const write = (name: string, line: (i: number) => string) => {
    const file = new FileWriter(join(folder, name));
    for (let i = 0; i < count; i++) file.append(line(i));
    file.finish();
    file.close();
    console.log(`${name}: ${(statSync(file.path).size / 2 ** 20).toFixed(0)} MiB`);
  };
  const picture = Buffer.alloc(150, 'picture').toString('base64');
  write('train_imgs.tsv', (i) => `${1000000 + i}\t${picture}\n`);
  write('train_texts.jsonl', (i) => {
    const imageId = 1000000 + ((i * 7919) % count);
    return `{"text_id": ${i}, "text": "第${i}张图片里的东西：猫和狗在草地上", "image_ids": [${imageId}]}\n`;
  });
}
