import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random, threefry } from '../src/random.js';

test('Threefry gives the published known answers', () => {
  // Random123's kat_vectors, threefry 2x32 20.
  const known = [
    { key: [0, 0], counter: [0, 0], answer: [0x6b200159, 0x99ba4efe] },
    { key: [-1, -1], counter: [-1, -1], answer: [0x1cb996fc, 0xbb002be7] },
    { key: [0x13198a2e, 0x03707344], counter: [0x243f6a88, 0x85a308d3], answer: [0xc4923a9c, 0x483df7a0] },
  ];
  for (const { key, counter, answer } of known) {
    const output = new Uint32Array(2);
    threefry(Uint32Array.from(key), counter[0], counter[1], output);
    assert.deepEqual([...output], answer);
  }
});

test('a stream is a function of its key alone', () => {
  const draw = (...key: (number | string)[]) => {
    const random = new Random(...key);
    return [random.word(), random.word(), random.word()].join();
  };
  assert.equal(draw(1, 'epoch', 2), draw(1, 'epoch', 2));
  const keys = [
    [],
    [0],
    [0, 0],
    [1],
    [-1],
    [2 ** 32],
    [2 ** 32 - 1],
    [''],
    ['', ''],
    ['1'],
    [1, 2],
    [2, 1],
    ['ab'],
    ['a', 'b'],
    ['ba'],
    ['词'],
  ];
  assert.equal(new Set(keys.map((key) => draw(...key))).size, keys.length);
  assert.throws(() => new Random(0.5), /whole numbers/);
});

test('uniform, normal and integer have their moments', () => {
  const random = new Random(7, 'moments');
  const count = 200_000;
  let uniformSum = 0;
  let normalSum = 0;
  let normalSquares = 0;
  let normalFourths = 0;
  const faces = new Array<number>(6).fill(0);
  for (let i = 0; i < count; i++) {
    const uniform = random.uniform();
    assert.ok(uniform >= 0 && uniform < 1);
    uniformSum += uniform;
    const normal = random.normal();
    normalSum += normal;
    normalSquares += normal ** 2;
    normalFourths += normal ** 4;
    faces[random.integer(6)]++;
  }
  // Five standard errors of each estimate; the seed is fixed, so this passes always or never.
  assert.ok(Math.abs(uniformSum / count - 0.5) < 5 * Math.sqrt(1 / 12 / count));
  assert.ok(Math.abs(normalSum / count) < 5 * Math.sqrt(1 / count));
  assert.ok(Math.abs(normalSquares / count - 1) < 5 * Math.sqrt(2 / count));
  assert.ok(Math.abs(normalFourths / count - 3) < 5 * Math.sqrt(96 / count));
  for (const face of faces) assert.ok(Math.abs(face / count - 1 / 6) < 5 * Math.sqrt(5 / 36 / count));
});

test('integer covers its range and refuses others', () => {
  const random = new Random('integer');
  assert.equal(random.integer(1), 0);
  // A plain modulo would draw the lowest third of this range half of the time.
  let low = 0;
  for (let i = 0; i < 4000; i++) if (random.integer(3 * 2 ** 30) < 2 ** 30) low++;
  assert.ok(Math.abs(low / 4000 - 1 / 3) < 0.04, `a third of the range drew ${low / 4000}`);
  for (const n of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN]) assert.throws(() => random.integer(n), RangeError);
});

test('shuffle draws every order equally often', () => {
  const random = new Random('shuffle');
  const counts = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = random.shuffle(Int32Array.of(0, 1, 2)).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  for (const [order, count] of counts) assert.ok(Math.abs(count - 1000) < 150, `${order}: ${count}`);
});
