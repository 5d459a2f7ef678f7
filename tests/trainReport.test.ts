import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeTrainReport } from '../src/report/trainReport.js';
import { bestOf, milestones, scoreOf } from '../src/train/bestMetric.js';
import { outcomeLines } from '../src/train/outcome.js';
import { RunDirectory } from '../src/train/runDirectory.js';
import type { ValidationRecord } from '../src/train/validation.js';
import { runCli } from './runCli.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
const recall = (recallAt1: number) => ({
  recallAt1,
  recallAt5: 50,
  recallAt10: 60,
  meanRecall: recallAt1 + 20,
});

function validation(
  step: number,
  t2i: number,
  i2t: number,
  loss: number,
  set: ValidationRecord['set'] = 'valid',
) {
  return {
    ...{ set, stage: 1 as const, step, epoch: step, seconds: 1, loss, logitScale: 14 },
    ...{ imageToTextAccuracy: 0.25, textToImageAccuracy: 0.5 },
    ...{ textToImage: recall(t2i), imageToText: recall(i2t) },
  };
}

const records = [
  validation(0, 90, 90, 0.1),
  validation(1, 10, 11, 2),
  validation(2, 13, 12, 1.5),
  validation(3, 14, 9, 1.8),
];

test('the best validation is the first best by the metric, but for what was before the first step', () => {
  const best = (metric: Parameters<typeof bestOf>[1]) => bestOf(records, metric)?.step;
  assert.deepEqual(
    [best('meanRecall'), best('textToImage'), best('imageToText'), best('loss')],
    [2, 3, 2, 2],
  );
  assert.equal(bestOf([...records, validation(4, 13, 12, 1.5)], 'meanRecall')?.step, 2);
  assert.equal(bestOf(records.slice(0, 1), 'loss'), undefined);
  assert.equal(scoreOf(records[2], 'meanRecall'), 32.5);
  assert.deepEqual(
    milestones(records, 'textToImage').map(({ name, record }) => [name, record.step]),
    [
      ['before', 0],
      ['best', 3],
      ['after', 3],
    ],
  );
});

test('the report of a run shows validations, curves, parameters and settings, and is rebuilt by command', async () => {
  const run = new RunDirectory(join(folder, 'run'));
  run.open({ model: 'ViT-B-16', data: ['<a>', 'b'], bestMetric: 'textToImage', lora: { rank: 2 } });
  run.noteParameters('finetuning', { trained: 25_600, all: 1_560_449 });
  for (const record of records) run.appendValidation(record);
  run.appendValidation(validation(0, 70, 70, 0.5, 'other'));
  run.appendValidation(validation(3, 7, 7, 0.5, 'other'));
  for (let step = 1; step <= 3; step++) {
    run.appendMetrics({
      ...{ stage: 1, step, epoch: 1, loss: 3 - step / 2, learningRate: 1e-3, logitScale: 14 },
      ...{ imageToTextAccuracy: 0.25, textToImageAccuracy: 0.5, samplesPerSecond: 40 },
      ...{ dataTime: 0, batchTime: 1, cutTexts: 0, repeatedPairs: 0, replacedPairs: 0 },
    });
  }
  const path = writeTrainReport(run.path);
  const text = readFileSync(path, 'utf8');
  const cellsOf = (heading: string) =>
    [
      ...text
        .slice(text.indexOf(`<th scope="row">${heading}`))
        .split('</tr>')[0]
        .matchAll(/<td>([^<]*)<\/td>/g),
    ].map(([, cell]) => cell);
  assert.deepEqual(cellsOf('best').slice(0, 7), ['14.0', '50.0', '60.0', '9.0', '50.0', '60.0', '31.50']);
  assert.deepEqual(cellsOf('before').slice(0, 1), ['90.0']);
  assert.deepEqual(cellsOf('other data, after').slice(0, 1), ['7.0']);
  assert.ok(text.includes('1.64 %'));
  assert.ok(text.includes('&lt;a&gt;') && !text.includes('<a>'));
  assert.equal(text.match(/<figure/g)?.length, 8);
  assert.match(text, /lora\.rank/);
  const lines = outcomeLines(run, 'textToImage');
  assert.equal(lines.length, 6);
  assert.match(lines[5], /^other data, after +3 +7\.00 /);

  const again = await runCli(['train-report', run.path]);
  assert.equal(again.stdout.trim(), path);
  assert.equal(readFileSync(path, 'utf8'), text);
  mkdirSync(join(folder, 'empty'));
  const none = await runCli(['train-report', join(folder, 'empty')]);
  assert.match(none.stderr, /empty holds no run: .*config\.yaml is missing/);
});
