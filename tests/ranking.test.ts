import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalize, searchWithRanks, topK } from '../src/eval/ranking.js';

/** Numbers in [-1, 1) that are the same in every run. */
function randomFeatures(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Asserts that `act` refuses with a UserError that says so. */
async function refuses(act: () => unknown, message: RegExp): Promise<void> {
  await assert.rejects(async () => act(), { name: 'UserError', message });
}

test('topK orders as a full stable sort does, over blocks and remainders', async () => {
  const [m, n, dimension, k] = [7, 4003, 33, 10];
  const queries = randomFeatures(m * dimension, 1);
  const candidates = randomFeatures(n * dimension, 2);
  // Equal features far apart, in another block: the earlier must come first, also where they are the best.
  for (const [from, to] of [
    [5, 3999],
    [5, 4002],
    [700, 6],
  ]) {
    candidates.copyWithin(to * dimension, from * dimension, (from + 1) * dimension);
  }
  queries.set(candidates.subarray(5 * dimension, 6 * dimension).map((value) => value * 4));
  const result = await topK(queries, candidates, dimension, k);
  assert.equal(result.k, k);
  for (let query = 0; query < m; query++) {
    const scores = Array.from({ length: n }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < dimension; i++)
        sum += queries[query * dimension + i] * candidates[row * dimension + i];
      return Math.fround(sum);
    });
    const order = scores.map((_, row) => row).sort((a, b) => scores[b] - scores[a] || a - b);
    assert.deepEqual([...result.indices.subarray(query * k, (query + 1) * k)], order.slice(0, k));
    assert.deepEqual(
      [...result.scores.subarray(query * k, (query + 1) * k)],
      order.slice(0, k).map((row) => scores[row]),
    );
    for (const trueRows of [[order[0]], [order[20], order[3]], [order[n - 1]]]) {
      const rank = 1 + Math.min(...trueRows.map((row) => order.indexOf(row)));
      const row = queries.subarray(query * dimension, (query + 1) * dimension);
      const { ranks } = await searchWithRanks(row, candidates, dimension, k, [trueRows]);
      assert.deepEqual([...ranks], [rank]);
    }
  }
  assert.deepEqual([...result.indices.subarray(0, 3)], [5, 3999, 4002]);
});

test('topK tells apart what float32 products cannot, in every block', async () => {
  // One large term hides the small one that decides: a float32 sum of the products loses it, a float64 sum keeps it
  // until the cancelling term comes.
  const [n, dimension] = [20_000, 3];
  const decisive = (row: number) => ((row * 7919) % n) / n;
  const candidates = new Float32Array(n * dimension);
  for (let row = 0; row < n; row++) candidates.set([2 ** 24, decisive(row), -(2 ** 24)], row * dimension);
  const { indices } = await topK(Float32Array.of(1, 1, 1), candidates, dimension, 10);
  const best = Array.from({ length: n }, (_, row) => row).sort((a, b) => decisive(b) - decisive(a) || a - b);
  assert.deepEqual([...indices], best.slice(0, 10));
});

test('ranks hold over several blocks of queries and candidates, where scores tie or nearly tie', async () => {
  // Small whole numbers: many scores tie, and the order of the rows decides.
  const [m, n, dimension] = [300, 9000, 4];
  const whole = (length: number, seed: number) =>
    randomFeatures(length, seed).map((value) => Math.round(value * 2));
  const queries = whole(m * dimension, 3);
  const candidates = whole(n * dimension, 4);
  const trueRows = Array.from({ length: m }, (_, query) => {
    if (query % 50 === 1) return undefined;
    return query % 50 === 2 ? [] : [(query * 29) % n, (query * 31 + 8500) % n];
  });
  const { ranks, indices } = await searchWithRanks(queries, candidates, dimension, 10, trueRows);
  for (let query = 0; query < m; query += 1) {
    const scores = Array.from({ length: n }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < dimension; i++)
        sum += queries[query * dimension + i] * candidates[row * dimension + i];
      return sum;
    });
    const rows = trueRows[query];
    const before = (row: number) =>
      scores.filter((score, other) => score > scores[row] || (score === scores[row] && other < row)).length;
    const expected =
      rows === undefined ? Number.NaN : rows.length === 0 ? Infinity : 1 + Math.min(...rows.map(before));
    assert.equal(ranks[query], expected, `query ${query}`);
    assert.equal(before(indices[query * 10]), 0);
  }
});

test('topK keeps all candidates where there are fewer than k, and input order where all scores tie', async () => {
  const { k, indices, scores } = await topK(
    new Float32Array([1, 0]),
    new Float32Array([0, 5, 0, 7, 0, 9]),
    2,
    10,
  );
  assert.equal(k, 3);
  assert.deepEqual([...indices], [0, 1, 2]);
  assert.deepEqual([...scores], [0, 0, 0]);
  assert.deepEqual(await topK(new Float32Array([1]), new Float32Array(0), 1, 10), {
    k: 0,
    indices: new Int32Array(0),
    scores: new Float32Array(0),
  });
});

test('topK and normalize refuse what has no order or direction', async () => {
  await refuses(
    () => topK(new Float32Array([1, Number.NaN]), new Float32Array(2), 1, 1),
    /query row 1 holds NaN/,
  );
  await refuses(
    () => topK(new Float32Array(2), new Float32Array([1, 2, 3]), 2, 1),
    /3 candidate values .* dimension 2/,
  );
  await refuses(() => topK(new Float32Array(2), new Float32Array(2), 2, 0), /k is 0/);
  await refuses(() => normalize(new Float32Array([3, 4, 0, 0]), 2), /row 1 is all zero/);
  await assert.rejects(
    searchWithRanks(new Float32Array(1), new Float32Array(3), 1, 1, [[3]]),
    /true row 3 of query 0: expected 0 to 2/,
  );
});

test('normalize gives unit rows and leaves its input alone', async () => {
  const features = new Float32Array([3, 4, 0, -2]);
  assert.deepEqual([...normalize(features, 2)], [Math.fround(0.6), Math.fround(0.8), 0, -1]);
  assert.deepEqual([...features], [3, 4, 0, -2]);
});
