import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { BesidePytorch } from '../bench/besidePytorch.js';
import { packageRoot } from '../src/io/packageRoot.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-test-'));
after(() => rmSync(folder, { recursive: true }));
const reference = join(folder, 'reference');
mkdirSync(join(reference, 'cn_clip', 'clip'), { recursive: true });
writeFileSync(join(reference, 'cn_clip', 'clip', 'model.py'), '');

function bench(...args: string[]) {
  const program = [join(packageRoot, 'dist', 'bench', 'main.js'), 'pytorch', ...args];
  return spawnSync(process.execPath, program, { encoding: 'utf8' });
}

/** Stands for Python with PyTorch: each run takes ten seconds by its report, or five with waiting threads asleep, and the model has so many parameters. */
function standIn(parameters: number): string {
  const path = join(folder, `python${parameters}`);
  const program = `#!${process.execPath}
    const [first, , file] = process.argv.slice(2);
    if (first === '-c') console.log('1.13.0');
    else {
      const { texts, threads, steps } = JSON.parse(require('node:fs').readFileSync(file));
      const seconds = Array(steps).fill(process.env.OMP_WAIT_POLICY === 'PASSIVE' ? 5 : 10);
      console.log('notes of the reference');
      console.log(JSON.stringify({ parameters: ${parameters}, threads, tokens: texts.flat(2).length, seconds, peakMegabytes: 1 }));
    }`;
  writeFileSync(path, program, { mode: 0o755 });
  return path;
}

const brief = [
  ...['--reference', reference, '--model', 'tiny', '--what', 'train', '--threads', '1', '--train-batch', '2'],
  ...['--warm', '0', '--steps', '2', '--rounds', '2'],
];
/** Of configs/models/tiny.yaml. */
const PARAMETERS = 145601;

test('the benchmark beside PyTorch says where the reference is to be had', () => {
  const { status, stderr } = bench('--python', standIn(PARAMETERS));
  assert.equal(status, 1);
  assert.match(stderr, /git clone https:\/\/github\.com\/OFA-Sys\/Chinese-CLIP .*--reference DIR/);
});

test('both sides train in turns, and their medians are compared', {
  skip: process.platform !== 'linux',
}, () => {
  const json = join(folder, 'measured.json');
  const { status, stderr } = bench(...brief, '--python', standIn(PARAMETERS), '--json', json);
  assert.equal(status, 0, stderr);
  const turns = stderr.match(/(cn-clip|PyTorch|PyTorch passive)(?=: )/g);
  assert.deepEqual(turns, Array(4).fill(['cn-clip', 'PyTorch', 'PyTorch passive']).flat());
  const { results, ratios } = JSON.parse(readFileSync(json, 'utf8')) as BesidePytorch;
  assert.equal(results.length, 6);
  const [own, peer, passive] = results;
  assert.deepEqual(peer.seconds, [
    [10, 10],
    [10, 10],
  ]);
  assert.equal(passive.medianSeconds, 5);
  // Two texts of 52 tokens, two runs.
  assert.equal(own.tokens, 208);
  assert.ok(results[3].tokens <= 2 * 2 * 20, 'real captions are short');
  assert.equal(ratios[0].ratio, 'samples/s, cn-clip / PyTorch');
  assert.equal(ratios[2].ratio, 'samples/s, cn-clip / PyTorch passive');
  assert.ok(Math.abs(ratios[2].value - 5 / own.medianSeconds) < 1e-6);
  assert.ok(Math.abs(ratios[0].value - 10 / own.medianSeconds) < 1e-6);
});

test('sides that differ are not compared', { skip: process.platform !== 'linux' }, () => {
  const { status, stderr } = bench(...brief, '--python', standIn(1));
  assert.equal(status, 1);
  assert.match(stderr, /PyTorch has 1 parameters, cn-clip 145601/);
});
