import assert from 'node:assert/strict';
import { test } from 'node:test';
import { datasetOrder, epochLength, epochOrder } from '../src/data/sampler.js';

const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b);
const range = (length: number, start = 0) => Array.from({ length }, (_, i) => start + i);

test('without groups and parts the order is that of the reference', () => {
  assert.deepEqual(datasetOrder({ pairCount: 101 }, 10, 3, 1, true), epochOrder(101, 10, 3, 1, true));
});

test('groups: every pair once, near the pairs of its group, by seed and epoch; the end is filled from the start', () => {
  const groups = Int32Array.from(range(50), (i) => i * 40);
  const dataset = { pairCount: 2000, groups, shuffleBuffer: 60 };
  const order = datasetOrder(dataset, 64, 1, 0, true);
  assert.equal(order.length, 2048);
  assert.deepEqual(sorted(order.subarray(0, 2000)), range(2000));
  assert.deepEqual(order.subarray(2000), order.subarray(0, 48));
  assert.deepEqual(datasetOrder(dataset, 64, 1, 0, true), order);
  for (const [seed, epoch] of [
    [1, 1],
    [2, 0],
  ]) {
    assert.notDeepEqual(datasetOrder(dataset, 64, seed, epoch, true), order);
  }
  // In any 100 draws few of the 50 groups take part, and consecutive draws are mostly of different groups.
  let most = 0;
  for (let i = 0; i + 100 <= 2000; i += 100) {
    most = Math.max(most, new Set(Array.from(order.subarray(i, i + 100), (at) => Math.floor(at / 40))).size);
  }
  assert.ok(most <= 20, `${most} groups in 100 draws`);
  const changes = range(1999).filter(
    (i) => Math.floor(order[i] / 40) !== Math.floor(order[i + 1] / 40),
  ).length;
  assert.ok(changes > 800, `${changes} changes of group`);
  // A buffer of one gives whole groups, one larger than the dataset a shuffle of all.
  const whole = datasetOrder({ ...dataset, shuffleBuffer: 1 }, 1, 1, 0, true);
  assert.equal(range(2000).filter((i) => whole[i] % 40 === i % 40).length, 2000);
  assert.notDeepEqual(sorted(whole), [...whole]);
  assert.deepEqual(sorted(datasetOrder({ ...dataset, shuffleBuffer: 1e6 }, 1, 1, 0, true)), range(2000));
  assert.deepEqual([...datasetOrder(dataset, 1, 1, 0, false)], range(2000));
});

test('weights: shares of an epoch, fractions go on where the epoch before ended, repeats are whole passes', () => {
  const parts = [
    { pairCount: 100, weight: 1 },
    { pairCount: 60, weight: 0.25, groups: Int32Array.of(0, 20, 40), shuffleBuffer: 10 },
    { pairCount: 10, weight: 3 },
    { pairCount: 30, weight: 0.5 },
  ];
  const dataset = { pairCount: 200, parts };
  assert.equal(epochLength(dataset), 100 + 15 + 30 + 15);
  const epochs = range(4).map((epoch) => datasetOrder(dataset, 8, 5, epoch, true));
  const part = (order: Int32Array, from: number, to: number) =>
    [...order.subarray(0, 160)].filter((at) => at >= from && at < to);
  for (const order of epochs) {
    assert.deepEqual(sorted(part(order, 0, 100)), range(100));
    assert.equal(part(order, 100, 160).length, 15);
    assert.deepEqual(
      sorted(part(order, 160, 170)),
      sorted([...range(10, 160), ...range(10, 160), ...range(10, 160)]),
    );
    assert.equal(part(order, 170, 200).length, 15);
  }
  assert.deepEqual(
    sorted(epochs.flatMap((order) => part(order, 100, 160))),
    range(60, 100),
    'four quarters are all',
  );
  assert.deepEqual(sorted([...part(epochs[0], 170, 200), ...part(epochs[1], 170, 200)]), range(30, 170));
  assert.notDeepEqual(sorted(part(epochs[0], 170, 200)), range(15, 170), 'which half is drawn');
  assert.deepEqual(datasetOrder(dataset, 8, 5, 2, true), epochs[2]);
  assert.notDeepEqual(part(epochs[0], 0, 100), part(epochs[1], 0, 100));
  // The parts are mixed all along: in each quarter of the epoch there is some of the first.
  for (const start of [0, 40, 80, 120]) {
    const count = [...epochs[0].subarray(start, start + 40)].filter((at) => at < 100).length;
    assert.ok(count > 12 && count < 38, `${count} of 40`);
  }
  assert.deepEqual(
    [...datasetOrder(dataset, 160, 5, 0, false)],
    [
      ...range(100),
      ...range(15, 100),
      ...range(10, 160),
      ...range(10, 160),
      ...range(10, 160),
      ...range(15, 170),
    ],
  );
  assert.equal(epochLength({ pairCount: 3, parts: [{ pairCount: 3, weight: 0.01 }] }), 1);
});
