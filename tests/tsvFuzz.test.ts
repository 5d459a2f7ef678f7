import assert from 'node:assert/strict';
import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataset } from '../src/data/dataset.js';
import { Random } from '../src/random.js';
import { isRefused } from './hostile.js';
import { temporaryDirectory } from './support.js';

const MUTATIONS = 300;
const TELLING = [
  '\t',
  '\n',
  '\r\n',
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  '\\',
  '\0',
  '\xff',
  '\xed\xa0\x80',
  '=',
  '1',
  '9'.repeat(20),
];

test(`${MUTATIONS} damaged datasets of tsv and jsonl, or their indexes: each is read, or is one error of ours`, async () => {
  const folder = temporaryDirectory();
  const lines = Array.from({ length: 6 }, (_, i) => i + 1);
  writeFileSync(
    join(folder, 'train_imgs.tsv'),
    lines.map((i) => `${i}\t${Buffer.alloc(20, i).toString('base64')}\n`).join(''),
  );
  writeFileSync(
    join(folder, 'train_texts.jsonl'),
    lines.map((i) => `${JSON.stringify({ text_id: i, text: `猫“${i}”`, image_ids: [i, 7 - i] })}\n`).join(''),
  );
  const readAll = async () => {
    const dataset = await openDataset(folder, { warn: () => {} });
    try {
      for (let i = 0; i < dataset.length; i++) await dataset.pair(i);
      return [...dataset.texts()].length;
    } finally {
      dataset.close();
    }
  };
  // Files keep their time of change, so that a damaged index is looked at.
  const keepTime = () => {
    for (const name of ['train_imgs.tsv', 'train_texts.jsonl']) utimesSync(join(folder, name), 1e9, 1e9);
  };
  keepTime();
  await readAll();
  const whole = readdirSync(folder).map((name) => ({
    path: join(folder, name),
    bytes: readFileSync(join(folder, name)),
  }));
  assert.equal(whole.length, 5, 'two files and three indexes');
  let refused = 0;
  for (let seed = 0; seed < MUTATIONS; seed++) {
    const random = new Random('tsv fuzz', seed);
    const { path, bytes } = whole[seed % whole.length];
    const at = random.integer(bytes.length);
    const inserted = Buffer.from(TELLING[random.integer(TELLING.length)], 'latin1');
    writeFileSync(
      path,
      Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + random.integer(9))]),
    );
    if (await isRefused(readAll, `mutation ${seed}`, { file: folder, message: 1000 })) refused++;
    for (const { path, bytes } of whole) writeFileSync(path, bytes);
    keepTime();
  }
  assert.ok(refused > MUTATIONS / 10 && refused < MUTATIONS, `${refused} refused`);
});
