import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TowerSpeed } from '../src/export/benchmark.js';
import { runCli } from './runCli.js';
import { readJson, temporaryDirectory } from './support.js';

const folder = temporaryDirectory();

test('every tower, precision and batch size is timed, as a table and JSON', async () => {
  const out = join(folder, 'speed.json');
  const sizes = ['--batch-sizes', '1,3', '--precisions', 'fp32,int8', '--runs', '2'];
  const { code, stdout, stderr } = await runCli(['benchmark', '--model', 'tiny', ...sizes, '--out', out]);
  assert.equal(code, 0, stderr);
  const { towers } = readJson<{ towers: TowerSpeed[] }>(out);
  const rows = towers.map(({ tower, precision, provider, sessions, batchSize }) =>
    [tower, precision, provider, sessions, batchSize].join(' '),
  );
  // A session for each core, where there are several, divides a batch of several.
  const cores = availableParallelism();
  const runs = ['1 1', '1 3', ...(cores > 1 ? [`${cores} 3`] : [])];
  const expected = ['image', 'text'].flatMap((tower) =>
    ['fp32', 'int8'].flatMap((precision) => runs.map((run) => `${tower} ${precision} cpu ${run}`)),
  );
  assert.deepEqual(rows, expected);
  for (const { latency, batchSize, perSecond } of towers) {
    assert.ok(latency.min > 0 && latency.min <= latency.median && latency.median <= latency.max);
    assert.ok(Math.abs(perSecond * latency.median - 1000 * batchSize) < 1e-6 * perSecond);
  }
  assert.equal(stdout.split('\n').filter((line) => /^(image|text) /.test(line)).length, expected.length);
});

test('a provider that does not exist is an error of its flag', async () => {
  const { code, stderr } = await runCli(['benchmark', '--model', 'tiny', '--providers', 'cpu,gpu']);
  assert.equal(code, 1);
  assert.match(stderr, /^error: --providers: expected one of "cpu"\|"cuda"/);
});

test('a provider that is not there is an error', async () => {
  const { code, stderr } = await runCli(['benchmark', '--model', 'tiny', '--providers', 'cpu,cuda']);
  assert.equal(code, 1);
  assert.match(stderr, /execution provider 'cuda' (can't be started|is not in)/);
});
