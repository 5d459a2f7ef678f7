import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { fixture } from './support.js';
import { tar } from './tarBytes.js';

/** A picture and its captions. */
export interface Sample {
  id: string;
  image: Buffer;
  captions: string[];
}

/** The first pictures of the fixture dataset, with one caption each, or two for every third. */
export function smallSet(count: number, captionsEach = 3): Sample[] {
  const lines = readFileSync(fixture('dataset', 'train_imgs.tsv'), 'utf8').split('\n').slice(0, count);
  return lines.map((line, i) => ({
    id: `p${i}`,
    image: Buffer.from(line.split('\t')[1], 'base64'),
    captions: [`一张图片，第 ${i} 号`, ...(i % captionsEach === 1 ? [`另一句，"${i}"`] : [])],
  }));
}

/** Whether samples have one caption each, as forms without lists need. */
export function singly(samples: readonly Sample[]): Sample[] {
  return samples.map(({ id, image, captions }) => ({ id, image, captions: captions.slice(0, 1) }));
}

const pngName = ({ id }: Sample) => `${id}.png`;

export function writeTsv(folder: string, samples: readonly Sample[], split = 'train'): string {
  mkdirSync(folder, { recursive: true });
  let textId = 0;
  writeFileSync(
    join(folder, `${split}_imgs.tsv`),
    samples.map(({ id, image }) => `${id}\t${image.toString('base64')}\n`).join(''),
  );
  const texts = samples.flatMap(({ id, captions }) =>
    captions.map((text) => JSON.stringify({ text_id: textId++, text, image_ids: [id] })),
  );
  writeFileSync(join(folder, `${split}_texts.jsonl`), `${texts.join('\n')}\n`);
  return folder;
}

/** Pictures in a folder with a table, or with a .txt beside each. */
export function writeFolder(
  folder: string,
  samples: readonly Sample[],
  table: 'captions.csv' | 'captions.tsv' | 'train.jsonl' | 'metadata.csv' | 'txt',
): string {
  mkdirSync(join(folder, 'pictures'), { recursive: true });
  for (const sample of samples) writeFileSync(join(folder, 'pictures', pngName(sample)), sample.image);
  const name = (sample: Sample) => `pictures/${pngName(sample)}`;
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  if (table === 'txt') {
    for (const { id, captions } of samples) writeFileSync(join(folder, 'pictures', `${id}.txt`), captions[0]);
    return folder;
  }
  let rows: string[];
  if (table.endsWith('.jsonl')) {
    rows = samples.map((sample) =>
      JSON.stringify({
        image: name(sample),
        text: sample.captions.length === 1 ? sample.captions[0] : sample.captions,
      }),
    );
  } else {
    const delimiter = table.endsWith('.tsv') ? '\t' : ',';
    rows = samples.flatMap((sample) =>
      sample.captions.map((caption) => ['x', quoted(caption), name(sample)].join(delimiter)),
    );
    rows.unshift(['other', 'caption', table === 'metadata.csv' ? 'file_name' : 'filepath'].join(delimiter));
  }
  writeFileSync(join(folder, table), `${rows.join('\n')}\n`);
  return folder;
}

/** Shards train-000000.tar … with so many samples each; captions in .txt, or in a field of .json. */
export function writeShards(
  folder: string,
  samples: readonly Sample[],
  perShard: number,
  field?: string,
): string {
  mkdirSync(folder, { recursive: true });
  for (let start = 0; start < samples.length; start += perShard) {
    const members = samples.slice(start, start + perShard).flatMap((sample) => {
      const text =
        field === undefined
          ? { name: `${sample.id}.txt`, content: sample.captions[0] }
          : { name: `${sample.id}.json`, content: JSON.stringify({ width: 1, [field]: sample.captions[0] }) };
      return [{ name: pngName(sample), content: sample.image }, text];
    });
    const number = String(start / perShard).padStart(6, '0');
    writeFileSync(join(folder, `train-${number}.tar`), tar(...members));
  }
  return folder;
}

/** A file of the form that Hugging Face writes: a struct of bytes and path, and a list of captions. */
export function writeParquet(path: string, samples: readonly Sample[], rowGroupSize = 7): string {
  const buffer = parquetWriteBuffer({
    schema: [
      { name: 'schema', num_children: 2 },
      { name: 'image', num_children: 2, repetition_type: 'OPTIONAL' },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
      { name: 'caption', num_children: 1, repetition_type: 'OPTIONAL', converted_type: 'LIST' },
      { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
      { name: 'element', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    ],
    columnData: [
      { name: 'image', data: samples.map((sample) => ({ bytes: sample.image, path: pngName(sample) })) },
      { name: 'caption', data: samples.map(({ captions }) => captions) },
    ],
    rowGroupSize,
    pageSize: 4000,
  });
  writeFileSync(path, Buffer.from(buffer));
  return path;
}
