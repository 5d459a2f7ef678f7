import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { resolveSettings } from '../src/config/options.js';
import { pretrainSchema } from '../src/config/pretrain.js';
import { UserError } from '../src/errors.js';
import { buildVocabulary } from '../src/text/vocabulary.js';
import { pretrain } from '../src/train/pretrain.js';
import { RunDirectory } from '../src/train/runDirectory.js';
import { singly, smallSet, writeFolder, writeParquet, writeShards, writeTsv } from './sources.js';
import { temporaryDirectory } from './support.js';

const root = temporaryDirectory();
const samples = singly(smallSet(18));
const tsv = writeTsv(join(root, 'tsv'), samples);
const shards = writeShards(join(root, 'shards'), samples, 4);
const folder = writeFolder(join(root, 'folder'), samples, 'captions.csv');
mkdirSync(join(root, 'parquet'));
const parquet = writeParquet(join(root, 'parquet', 'train-0.parquet'), samples, 5);
const vocabulary = join(root, 'vocab.txt');
writeFileSync(
  vocabulary,
  buildVocabulary(
    samples.flatMap(({ captions }) => captions),
    { maxSize: 200, minFrequency: 1 },
  ).join('\n'),
);

const data = {
  folder,
  webdataset: `{ path: ${shards}, shuffleBuffer: 5 }`,
  parquet: `{ path: ${parquet}, shuffleBuffer: 3 }`,
  mixture: `
  - ${tsv}
  - { path: ${shards}, weight: 0.5, shuffleBuffer: 3 }
  - { path: ${parquet}, source: parquet, weight: 1.5 }`,
};

/** Runs stage 2 for two epochs, or until `steps` were taken in this call. */
async function run(output: string, setting: string, steps = Number.POSITIVE_INFINITY): Promise<void> {
  const config = join(root, 'pretrain.yaml');
  const stage = 'batchSize: 5, learningRate: 0.001, warmupSteps: 2';
  writeFileSync(
    config,
    `model: tiny
data: ${setting}
output: ${output}
vocabulary: ${vocabulary}
saveEverySteps: 2
stage1: { epochs: 0, ${stage} }
stage2: { epochs: 2, ${stage} }
`,
  );
  let taken = 0;
  const reporter = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };
  await pretrain(resolveSettings(pretrainSchema, config, {}), {
    stages: [2],
    reporter,
    shouldStop: () => ++taken >= steps,
  });
}

for (const [name, setting] of Object.entries(data)) {
  test(`${name}: a run that is stopped and taken up again ends with the same bits`, async () => {
    const [whole, stopped] = [join(root, `${name}-whole`), join(root, `${name}-stopped`)];
    await run(whole, setting);
    // In the first epoch, then in the second.
    await run(stopped, setting, 3);
    await run(stopped, setting, 4);
    await run(stopped, setting);
    const losses = (path: string) =>
      new RunDirectory(path).readMetrics().map(({ step, loss }) => [step, loss]);
    const pairs = name === 'mixture' ? 18 + 9 + 27 : 18;
    assert.equal(losses(whole).length, 2 * Math.ceil(pairs / 5));
    assert.deepEqual(losses(stopped), losses(whole));
    const weights = (path: string) => readFileSync(join(path, 'model', 'model.safetensors'));
    assert.ok(weights(stopped).equals(weights(whole)));
    await assert.rejects(run(stopped, tsv), /holds a run with another data/);
  });
}

test('a mistake in the data setting is named with its place', () => {
  const config = join(root, 'wrong.yaml');
  for (const [setting, message] of [
    ['{ path: x, sauce: tsv }', /data\.sauce: there is no such setting/],
    ['{ path: x, source: tvs }', /data\.source: .*"tsv"/],
    ['[{ path: x }, { weight: 2 }]', /data\.1\.path: is missing, expected string/],
    ['{ path: x, weight: 0 }', /data\.weight: /],
    ['[]', /data: /],
    ['5', /data: /],
  ] as const) {
    writeFileSync(config, `model: tiny\ndata: ${setting}\noutput: x\n`);
    assert.throws(
      () => resolveSettings(pretrainSchema, config, {}),
      (error) => {
        assert.ok(error instanceof UserError);
        const line = error.message.split('\n').find((each) => each.includes('wrong.yaml:2'));
        assert.match(String(line), message, error.message);
        return true;
      },
    );
  }
});
