import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRateAt } from '../src/train/schedule.js';
import { fixture, readJson } from './support.js';

interface GoldenSchedule {
  base_lr: number;
  warmup: number;
  total: number;
  lr: number[];
}

test('learning rates are those of the reference', () => {
  const schedules = readJson<GoldenSchedule[]>(fixture('golden', 'schedule.json'));
  assert.ok(schedules.length > 1);
  for (const { base_lr: learningRate, warmup: warmupSteps, total: totalSteps, lr } of schedules) {
    assert.equal(lr.length, totalSteps);
    for (const [step, expected] of lr.entries()) {
      const rate = learningRateAt({ learningRate, warmupSteps, totalSteps }, step);
      assert.ok(Math.abs(rate - expected) <= 1e-12 * learningRate, `step ${step} of ${totalSteps}`);
    }
  }
});

test('without warm-up the first step has the peak rate, and a run may be all warm-up', () => {
  const schedule = { learningRate: 1, warmupSteps: 0, totalSteps: 4 };
  assert.deepEqual(
    [0, 2].map((step) => learningRateAt(schedule, step)),
    [1, 0.5],
  );
  const rising = { learningRate: 1, warmupSteps: 4, totalSteps: 4 };
  assert.deepEqual(
    [0, 1, 2, 3].map((step) => learningRateAt(rising, step)),
    [0.25, 0.5, 0.75, 1],
  );
});

test('the constant schedule stays at its peak after the warm-up, none has no warm-up', () => {
  const rates = (schedule: 'constant' | 'none') =>
    [0, 1, 2, 9, 20].map((step) =>
      learningRateAt({ learningRate: 1, warmupSteps: 2, totalSteps: 10, schedule }, step),
    );
  assert.deepEqual(rates('constant'), [0.5, 1, 1, 1, 1]);
  assert.deepEqual(rates('none'), [1, 1, 1, 1, 1]);
});
