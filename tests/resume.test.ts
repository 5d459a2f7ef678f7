import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packageRoot } from '../src/io/packageRoot.js';
import { RunDirectory } from '../src/train/runDirectory.js';
import { type CliResult, runCli } from './runCli.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-resume-'));
const data = join(folder, 'data');
const config = join(folder, 'pretrain.yaml');
const stage1Steps = 2 * 17;
const stage2Steps = 2 * 17;

before(async () => {
  cpSync(join(packageRoot, 'tests', 'fixtures', 'dataset'), data, { recursive: true });
  const vocabulary = join(data, 'vocab.txt');
  const built = await runCli([
    'data',
    'build-vocab',
    '--data',
    data,
    '--out',
    vocabulary,
    '--max-size',
    '300',
  ]);
  assert.equal(built.code, 0, built.stderr);
  writeFileSync(
    config,
    `model: tiny
data: ${data}
output: ${join(folder, 'unused')}
saveEverySteps: 4
stage1: { epochs: 2, batchSize: 32, learningRate: 0.001, warmupSteps: 5 }
stage2: { epochs: 2, batchSize: 32, learningRate: 0.001, warmupSteps: 5 }
`,
  );
});
after(() => rmSync(folder, { recursive: true, force: true }));

const pretrain = (output: string, ...more: string[]) => [
  'pretrain',
  '--config',
  config,
  '--output',
  output,
  ...more,
];

let uninterrupted: Promise<string> | undefined;

/** A run from start to end that nothing disturbed. */
function reference(): Promise<string> {
  uninterrupted ??= (async () => {
    const output = join(folder, 'uninterrupted');
    const result = await runCli(pretrain(output));
    assert.equal(result.code, 0, result.stderr);
    return output;
  })();
  return uninterrupted;
}

/** Weights are equal to the bit; learning rate, order and dropout of every step too, or the losses would differ. */
function assertSameOutcome(output: string, expected: string): void {
  const weights = (path: string) => readFileSync(join(path, 'model', 'model.safetensors'));
  assert.ok(weights(output).equals(weights(expected)), 'weights differ');
  const steps = (path: string) =>
    new RunDirectory(path).readMetrics().map(({ stage, step, epoch, loss, learningRate, logitScale }) => ({
      stage,
      step,
      epoch,
      loss,
      learningRate,
      logitScale,
    }));
  assert.deepEqual(steps(output), steps(expected));
}

test('an uninterrupted run takes every step of both stages and leaves nothing half-written', async () => {
  const output = await reference();
  const metrics = new RunDirectory(output).readMetrics();
  assert.deepEqual(
    metrics.map(({ stage, step }) => [stage, step]),
    [
      ...Array.from({ length: stage1Steps }, (_, i) => [1, i + 1]),
      ...Array.from({ length: stage2Steps }, (_, i) => [2, i + 1]),
    ],
  );
  const visual = (path: string) => readFileSync(join(path, 'model.safetensors'));
  assert.ok(
    !visual(join(output, 'model')).equals(visual(join(output, 'checkpoints', 'stage1-step00000034'))),
  );
  assert.deepEqual(readdirSync(output).sort(), [
    'checkpoints',
    'config.yaml',
    'events',
    'metrics.jsonl',
    'model',
    'parameters.json',
    'report.html',
    'train.log',
  ]);
});

test('killed again and again, a run ends with the weights of an uninterrupted one', async () => {
  const expected = await reference();
  const output = join(folder, 'killed');
  let kills = 0;
  let result: CliResult | undefined;
  // Each try is killed once it has logged a number of steps of its own, a different number each time.
  for (const lines of [1, 2, 0, 3, 1, 2, 0, 4, 2, 1]) {
    const before = new RunDirectory(output).readMetrics().length;
    result = await runCli(pretrain(output, '--log-every-steps', '1'), (child) => {
      let seen = 0;
      child.stdout?.on('data', (chunk) => {
        seen += String(chunk).split('Global Steps').length - 1;
        if (seen > lines * 4) child.kill('SIGKILL');
      });
    });
    if (result.signal !== 'SIGKILL') break;
    kills++;
    assert.ok(
      new RunDirectory(output).readMetrics().length >= before - 4,
      'lost more than one interval of steps',
    );
  }
  assert.ok(kills >= 5, `only ${kills} of the tries were killed`);
  if (result?.code !== 0) result = await runCli(pretrain(output));
  assert.equal(result.code, 0, result.stderr);
  assertSameOutcome(output, expected);
});

test('SIGINT saves a checkpoint and ends cleanly; the same command goes on from there', async () => {
  const expected = await reference();
  const output = join(folder, 'interrupted');
  const interrupted = await runCli(
    pretrain(output, '--log-every-steps', '1', '--save-every-steps', '1000'),
    (child) => {
      let sent = false;
      child.stdout?.on('data', (chunk) => {
        if (!sent && String(chunk).includes('Global Steps')) sent = child.kill('SIGINT');
      });
    },
  );
  assert.equal(interrupted.code, 130, interrupted.stderr);
  assert.match(interrupted.stdout, /stopped after step \d+ of stage 1/);
  const resumed = await runCli(pretrain(output));
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.match(resumed.stdout, /resuming stage 1 after step \d+ of 34/);
  assertSameOutcome(output, expected);
});

test('stage by stage gives what both stages in one run give', async () => {
  const expected = await reference();
  const output = join(folder, 'stages');
  for (const stage of ['1', '2']) {
    const result = await runCli(pretrain(output, '--stage', stage));
    assert.equal(result.code, 0, result.stderr);
  }
  assertSameOutcome(output, expected);
});

test('a run that is complete is not run again; one with other settings is not touched', async () => {
  const output = await reference();
  const again = await runCli(pretrain(output));
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /stage 2 is complete/);
  const other = await runCli(pretrain(output, '--stage2.learning-rate', '0.002'));
  assert.equal(other.code, 1);
  assert.match(other.stderr, /holds a run with another stage2\.learningRate \(0\.001 there, 0\.002 now\)/);
});

test('a run goes on from a .pt of another run and ends with the same bits', async () => {
  const output = await reference();
  const [checkpoint] = readdirSync(join(output, 'checkpoints')).filter((name) => name.startsWith('stage2-'));
  const pt = join(folder, 'taken.pt');
  const converted = await runCli(['convert', join(output, 'checkpoints', checkpoint), pt, '--to', 'pt']);
  assert.equal(converted.code, 0, converted.stderr);
  assert.match(converted.stdout, /the optimizer after \d+ steps/);
  const resumed = join(folder, 'resumed-from-pt');
  const result = await runCli(pretrain(resumed, '--resume', pt));
  assert.equal(result.code, 0, result.stderr);
  const weights = (path: string) => readFileSync(join(path, 'model', 'model.safetensors'));
  assert.deepEqual(weights(resumed), weights(output));
});
