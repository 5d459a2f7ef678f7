import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UserError } from '../src/errors.js';
import {
  classResults,
  confusionMatrix,
  mostConfused,
  surestMistakes,
} from '../src/eval/classification/analysis.js';
import {
  correctness,
  type Predictions,
  prepareMetric,
  topClasses,
} from '../src/eval/classification/metrics.js';

// Figures computed with numpy by scikit-learn's definitions: balanced_accuracy_score, precision_recall_curve and
// roc_auc_score. Probabilities have one decimal, so that many are equal.
const classes = [0, 1, 2, 3, 0, 0, 0, 1, 1, 3, 2, 3, 1, 1, 2, 1, 3, 2, 0, 0, 0, 1, 3, 2];
// biome-ignore format: a row a sample
const rows = [
  [0.4, 0.1, 0.3, 0.2], [0.0, 0.6, 0.2, 0.2], [0.1, 0.3, 0.4, 0.1], [0.2, 0.3, 0.1, 0.3],
  [0.2, 0.3, 0.3, 0.2], [0.5, 0.3, 0.1, 0.0], [0.5, 0.2, 0.2, 0.1], [0.2, 0.5, 0.1, 0.2],
  [0.2, 0.5, 0.2, 0.1], [0.2, 0.3, 0.1, 0.4], [0.3, 0.0, 0.5, 0.2], [0.2, 0.2, 0.2, 0.3],
  [0.2, 0.5, 0.1, 0.2], [0.2, 0.6, 0.0, 0.2], [0.3, 0.1, 0.4, 0.2], [0.3, 0.4, 0.3, 0.0],
  [0.1, 0.2, 0.2, 0.6], [0.1, 0.2, 0.3, 0.4], [0.4, 0.2, 0.3, 0.1], [0.4, 0.2, 0.2, 0.1],
  [0.4, 0.2, 0.2, 0.3], [0.3, 0.4, 0.3, 0.1], [0.1, 0.2, 0.3, 0.5], [0.4, 0.2, 0.2, 0.2],
];
const single: Predictions = {
  probabilities: Float32Array.from(rows.flat()),
  classCount: 4,
  targets: classes.map((target) => [target]),
};
// biome-ignore format: one list
const multiple: Predictions = {
  ...single,
  targets: [
    [0], [1, 2], [1, 2, 3], [3], [0], [0, 1, 2], [0, 2], [1, 3], [1, 3], [3], [1, 2], [1, 3],
    [1], [1], [2, 3], [1], [3], [2], [0], [0, 2, 3], [0, 3], [1, 3], [1, 3], [0, 1, 2, 3],
  ],
};
// biome-ignore format: one list
const scores = [
  0.5, 0.5, 0.5, 0.7, 0, 0, 0.7, 0.1, 0.4, 0.9, 0.3, 0.8, 0.6, 0.4, 0.7, 0.2, 0.4, 0.5, 0.1, 0.5,
];
const binary: Predictions = {
  probabilities: Float32Array.from(scores.flatMap((score) => [1 - score, score])),
  classCount: 2,
  targets: [1, 1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0].map((target) => [target]),
};

function assertNear(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-12, `${actual}, expected ${expected}`);
}

test('metrics of one class a sample', () => {
  assertNear(prepareMetric('accuracy', single)(), 20 / 24);
  assertNear(prepareMetric('mean-per-class', single)(), 0.8142857142857143);
  assertNear(prepareMetric('11point_mAP', single)(), 0.8543726741095162);
  assertNear(prepareMetric('roc_auc', binary)(), 0.9595959595959596);
});

test('metrics of several classes a sample', () => {
  assertNear(prepareMetric('accuracy', multiple)(), 0.875);
  assertNear(prepareMetric('11point_mAP', multiple)(), 0.7720402654288134);
  assert.throws(() => prepareMetric('mean-per-class', multiple), UserError);
  assert.throws(() => prepareMetric('roc_auc', single), /two classes/);
});

test('a resample has the metric of its samples', () => {
  // biome-ignore format: one list
  const counts = Uint32Array.of(1, 3, 2, 2, 0, 1, 2, 0, 0, 1, 0, 3, 1, 2, 2, 1, 3, 1, 3, 3, 3, 3, 2, 1);
  assertNear(prepareMetric('accuracy', single)(counts), 0.9);
  assertNear(prepareMetric('mean-per-class', single)(counts), 0.8712121212121212);
  assertNear(prepareMetric('11point_mAP', single)(counts), 0.8859700905155451);
  const binaryCounts = Uint32Array.of(3, 1, 0, 3, 2, 0, 2, 2, 2, 2, 0, 3, 3, 1, 0, 0, 2, 2, 1, 2);
  assertNear(prepareMetric('roc_auc', binary)(binaryCounts), 0.9545454545454546);
});

test('the most probable class; of equal ones the first', () => {
  assert.deepEqual([...topClasses(single)].slice(0, 6), [0, 1, 2, 1, 1, 0]);
  assert.equal(
    correctness(single).reduce((sum, right) => sum + right, 0),
    20,
  );
});

test('classes without samples are left out of the means', () => {
  const five = {
    probabilities: Float32Array.from(rows.flatMap((row) => [...row, 0])),
    classCount: 5,
    targets: single.targets,
  };
  assertNear(prepareMetric('mean-per-class', five)(), 0.8142857142857143);
  assertNear(prepareMetric('11point_mAP', five)(), 0.8543726741095162);
});

test('results by class, confusions and the surest mistakes', () => {
  const small: Predictions = {
    probabilities: Float32Array.of(0.9, 0.1, 0, 0.2, 0.7, 0.1, 0.6, 0.3, 0.1, 0.8, 0.1, 0.1, 0.1, 0, 0.9),
    classCount: 3,
    targets: [[0], [0], [1], [1], [2, 1]],
  };
  assert.deepEqual(classResults(small, ['甲', '乙', '丙']), [
    { name: '甲', samples: 2, right: 1, predicted: 3 },
    { name: '乙', samples: 3, right: 1, predicted: 1 },
    { name: '丙', samples: 1, right: 1, predicted: 1 },
  ]);
  const matrix = confusionMatrix(small);
  assert.deepEqual([...matrix], [1, 1, 0, 2, 0, 0, 0, 0, 1]);
  assert.deepEqual(mostConfused(matrix, 3, 5), [
    { actual: 1, predicted: 0, count: 2 },
    { actual: 0, predicted: 1, count: 1 },
  ]);
  assert.deepEqual(
    surestMistakes(small, 5).map(({ image, predicted }) => [image, predicted]),
    [
      [3, 0],
      [1, 1],
    ],
  );
});
