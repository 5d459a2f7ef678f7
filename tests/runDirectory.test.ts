import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { logLine } from '../src/train/logLine.js';
import { type Position, RunDirectory, type StepMetrics } from '../src/train/runDirectory.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
let count = 0;
const newPath = () => join(folder, `run${count++}`);
const settings = { model: 'tiny', seed: 3, stage1: { epochs: 2, learningRate: 5e-4 } };

function newRun(): RunDirectory {
  const run = new RunDirectory(newPath());
  run.open(settings);
  return run;
}

function addCheckpoint(run: RunDirectory, position: Position): string {
  const path = run.checkpointPath(position);
  mkdirSync(path);
  writeFileSync(join(path, 'state.json'), JSON.stringify(position));
  return path;
}

const at = (stage: 1 | 2, step: number): Position => ({ stage, step, totalSteps: 100 });

const metricsOf = (stage: 1 | 2, step: number): StepMetrics => ({
  stage,
  step,
  epoch: 1,
  loss: 1.5,
  learningRate: 1e-3,
  imageToTextAccuracy: 0.25,
  textToImageAccuracy: 0.5,
  logitScale: Math.exp(2.65926),
  samplesPerSecond: 10,
  dataTime: 0.5,
  batchTime: 1.25,
  cutTexts: 0,
  repeatedPairs: 0,
  replacedPairs: 0,
});

test('a run opens anew, and again with the same settings', () => {
  const run = newRun();
  assert.deepEqual(readdirSync(run.path).sort(), ['checkpoints', 'config.yaml']);
  new RunDirectory(run.path).open(structuredClone(settings));
  const user = (message: RegExp) => ({ name: 'UserError', message });
  assert.throws(
    () => new RunDirectory(run.path).open({ ...settings, stage1: { epochs: 2, learningRate: 1e-3 } }),
    user(/another stage1\.learningRate \(0\.0005 there, 0\.001 now\): give another output folder/),
  );
  assert.throws(
    () => new RunDirectory(run.path).open({ ...settings, weights: 'a.safetensors' }),
    user(/another weights \(undefined there, "a\.safetensors" now\)/),
  );
});

test("a folder with other things in it is not taken for a run's", () => {
  const path = newPath();
  mkdirSync(path);
  writeFileSync(join(path, 'thesis.tex'), '');
  assert.throws(() => new RunDirectory(path).open(settings), {
    name: 'UserError',
    message: /is not empty and holds no run/,
  });
  assert.deepEqual(readdirSync(path), ['thesis.tex']);
});

test('what a killed process left half-written is cleared away, and nothing else', () => {
  const path = newPath();
  mkdirSync(join(path, 'checkpoints'), { recursive: true });
  writeFileSync(join(path, 'config.yaml.123.tmp'), 'model:');
  const run = new RunDirectory(path);
  run.open(settings);
  addCheckpoint(run, at(1, 5));
  mkdirSync(join(run.checkpoints, 'stage1-step00000009.4711.tmp'));
  mkdirSync(join(path, 'model.99.tmp'));
  writeFileSync(join(path, 'notes.tmp'), '');
  run.open(settings);
  assert.deepEqual(readdirSync(path).sort(), ['checkpoints', 'config.yaml', 'notes.tmp']);
  assert.deepEqual(readdirSync(run.checkpoints), ['stage1-step00000005']);
});

test('a process killed between the two renames of a replacement loses neither', () => {
  const run = newRun();
  for (const name of ['best.replaced.99.tmp', 'model.replaced.99.tmp', 'model']) {
    mkdirSync(join(run.path, name));
    writeFileSync(join(run.path, name, 'of'), name);
  }
  run.open(settings);
  assert.deepEqual(readdirSync(run.path).sort(), ['best', 'checkpoints', 'config.yaml', 'model']);
  assert.equal(readFileSync(join(run.best, 'of'), 'utf8'), 'best.replaced.99.tmp');
  assert.equal(readFileSync(join(run.model, 'of'), 'utf8'), 'model');
});

test('the newest checkpoint is found, of all or of one stage', () => {
  const run = newRun();
  assert.equal(run.latest(), undefined);
  for (const position of [at(1, 9), at(1, 10), at(1, 100), at(2, 2), at(2, 30)]) addCheckpoint(run, position);
  assert.deepEqual(run.latest()?.position, at(2, 30));
  assert.deepEqual(run.latest(1)?.position, at(1, 100));
  assert.equal(run.latest(1)?.path, join(run.checkpoints, 'stage1-step00000100'));
  assert.equal(run.finished(), undefined);
  mkdirSync(run.model);
  writeFileSync(join(run.model, 'state.json'), JSON.stringify(at(2, 100)));
  assert.deepEqual(run.finished(), at(2, 100));
});

test('a damaged state.json is an error that says what to do', () => {
  const run = newRun();
  const path = addCheckpoint(run, at(1, 9));
  for (const state of ['{"stage": 3, "step": 9, "totalSteps": 100}', '{"stage": 1', '']) {
    writeFileSync(join(path, 'state.json'), state);
    assert.throws(() => run.latest(), { name: 'UserError', message: /state\.json is (missing or )?damaged/ });
  }
});

test('rotation keeps the newest checkpoints, and the last of stage 1', () => {
  const run = newRun();
  for (const position of [at(1, 10), at(1, 20), at(2, 10), at(2, 20), at(2, 30)])
    addCheckpoint(run, position);
  run.rotate(2);
  const kept = ['stage1-step00000020', 'stage2-step00000020', 'stage2-step00000030'];
  assert.deepEqual(readdirSync(run.checkpoints).sort(), kept);
  run.rotate(5);
  assert.deepEqual(readdirSync(run.checkpoints).sort(), kept);
});

test('metrics come back, a last line that was cut off left out', () => {
  const run = newRun();
  assert.deepEqual(run.readMetrics(), []);
  for (const step of [1, 2, 3]) run.appendMetrics(metricsOf(1, step));
  for (const step of [1, 2]) run.appendMetrics(metricsOf(2, step));
  appendFileSync(join(run.path, 'metrics.jsonl'), '{"stage":2,"step":3,"lo');
  assert.deepEqual(run.readMetrics().at(-1), metricsOf(2, 2));
  assert.equal(run.readMetrics().length, 5);
  run.cut(at(2, 1));
  assert.deepEqual(
    run.readMetrics().map(({ stage, step }) => [stage, step]),
    [
      [1, 1],
      [1, 2],
      [1, 3],
      [2, 1],
    ],
  );
  run.cut(at(1, 2));
  assert.deepEqual(run.readMetrics(), [metricsOf(1, 1), metricsOf(1, 2)]);
  assert.match(readFileSync(join(run.path, 'metrics.jsonl'), 'utf8'), /\}\n$/);
  appendFileSync(join(run.path, 'metrics.jsonl'), 'oops\n');
  assert.throws(() => run.readMetrics(), { name: 'UserError', message: /metrics\.jsonl:3: / });
  assert.ok(!existsSync(join(run.path, 'train.log')));
});

test("the log line is the reference's", () => {
  const line = logLine(metricsOf(1, 7), { totalSteps: 12, stepsPerEpoch: 6, batchSize: 32 });
  assert.equal(
    line,
    'Global Steps: 7/12 | Train Epoch: 1 [32/192 (17%)] | Loss: 1.500000 | Image2Text Acc: 25.00 | ' +
      'Text2Image Acc: 50.00 | Data Time: 0.500s | Batch Time: 1.250s | LR: 0.001000 | logit_scale: 2.659 | ' +
      'Global Batch Size: 32',
  );
});
