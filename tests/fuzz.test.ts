import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { FuzzResult, FuzzTask } from './fuzzWorker.js';
import { fixture, temporaryDirectory } from './support.js';

const SEED = 1;
const MUTATIONS = 10_000;
/** Milliseconds after which one mutation counts as endless. */
const STUCK = 10_000;

test('10,000 files with random damage are read, or refused by an error of ours', async (t) => {
  const progress = new Int32Array(new SharedArrayBuffer(4));
  const folder = temporaryDirectory();
  const task: FuzzTask = { folder, fixtures: fixture('torch'), seed: SEED, mutations: MUTATIONS, progress };
  // In a thread of its own, so that an endless loop can be noticed.
  const worker = new Worker(new URL('./fuzzWorker.js', import.meta.url), { workerData: task });
  let last = -1;
  let stuck: number | undefined;
  const watch = setInterval(() => {
    const current = Atomics.load(progress, 0);
    if (current === last) {
      stuck = current;
      void worker.terminate();
    }
    last = current;
  }, STUCK);
  try {
    const exit = once(worker, 'exit').then(() => []);
    const [result] = (await Promise.race([once(worker, 'message'), exit])) as [FuzzResult?];
    assert.equal(stuck, undefined, `seed ${SEED}, mutation ${stuck} does not end`);
    assert.ok(result !== undefined);
    assert.deepEqual(result.failures, []);
    // Damage that is never noticed, or always, would not test much.
    assert.ok(
      result.accepted > MUTATIONS / 100 && result.accepted < MUTATIONS / 2,
      `${result.accepted} accepted`,
    );
    t.diagnostic(
      `${result.accepted} of ${MUTATIONS} accepted, the slowest took ${result.slowest.toFixed()} ms`,
    );
  } finally {
    clearInterval(watch);
    await worker.terminate();
  }
});
