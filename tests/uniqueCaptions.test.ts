import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HashTable, hashText } from '../src/data/hashTable.js';
import { epochOrder } from '../src/data/sampler.js';
import { numberTexts, type PairKeys, separateDuplicates } from '../src/data/uniqueCaptions.js';
import { Random } from '../src/random.js';

/** Pairs that share a batch with an earlier pair of the same text or image. */
function repeats(order: Int32Array, batchSize: number, { texts, images }: PairKeys): number {
  let count = 0;
  for (let start = 0; start < order.length; start += batchSize) {
    const seenTexts = new Set<number>();
    const seenImages = new Set<number>();
    for (const pair of order.subarray(start, start + batchSize)) {
      if (seenTexts.has(texts[pair]) || seenImages.has(images[pair])) count++;
      seenTexts.add(texts[pair]);
      seenImages.add(images[pair]);
    }
  }
  return count;
}

function randomKeys(pairs: number, texts: number, images: number, seed: number): PairKeys {
  const random = new Random(seed, 'keys');
  return {
    texts: Int32Array.from({ length: pairs }, () => random.integer(texts)),
    images: Int32Array.from({ length: pairs }, () => random.integer(images)),
  };
}

const sorted = (order: Int32Array) => order.slice().sort();

test('no batch has a text or an image twice, and an epoch has the same pairs as before', () => {
  for (let seed = 0; seed < 40; seed++) {
    const keys = randomKeys(970, 300, 400, seed);
    const order = epochOrder(970, 32, seed, 1, true);
    const { order: separated, unplaced } = separateDuplicates(order, 32, keys);
    assert.ok(repeats(order, 32, keys) > 50);
    assert.equal(unplaced, 0, `seed ${seed}`);
    assert.equal(repeats(separated, 32, keys), 0, `seed ${seed}`);
    assert.deepEqual(sorted(separated), sorted(order));
    assert.deepEqual(separateDuplicates(order, 32, keys).order, separated);
  }
});

test('without duplicates the order stays as it was', () => {
  const order = epochOrder(320, 32, 3, 0, true);
  const keys = { texts: Int32Array.from(order.keys()), images: Int32Array.from(order.keys()) };
  assert.deepEqual(separateDuplicates(order, 32, keys), { order, unplaced: 0 });
});

test('what has no place is counted, and fills the last batches', () => {
  // 30 batches, and 400 of the 600 pairs have the same text: at least 370 must share a batch with another.
  const order = epochOrder(600, 20, 1, 0, true);
  const texts = Int32Array.from({ length: 600 }, (_, pair) => Math.max(0, pair - 399));
  const images = Int32Array.from({ length: 600 }, (_, pair) => pair);
  const { order: separated, unplaced } = separateDuplicates(order, 20, { texts, images });
  assert.deepEqual(sorted(separated), sorted(order));
  assert.equal(unplaced, 370);
  assert.equal(repeats(separated, 20, { texts, images }), 370);
  assert.equal(repeats(separated.subarray(0, 200), 20, { texts, images }), 0);
  // One batch for all: there is nowhere to go.
  const single = separateDuplicates(Int32Array.of(0, 1, 0, 1), 4, { texts: images, images });
  assert.deepEqual([...single.order].sort(), [0, 0, 1, 1]);
  assert.equal(single.unplaced, 2);
});

test('a million pairs take time in proportion to their number', () => {
  const seconds = (pairs: number) => {
    const keys = randomKeys(pairs, pairs >> 2, pairs >> 1, 1);
    const order = epochOrder(pairs, 128, 1, 0, true);
    const began = performance.now();
    const { order: separated } = separateDuplicates(order, 128, keys);
    const time = (performance.now() - began) / 1000;
    assert.equal(repeats(separated, 128, keys), 0);
    return time;
  };
  seconds(20_000);
  const small = seconds(50_000);
  const large = seconds(1_000_000);
  // 20 times as many; the margin is for caches and a busy machine. Quadratic time would be a factor of 400.
  assert.ok(large < 120 * small + 1, `${small} s and ${large} s`);
});

test('texts are numbered by what the model sees of them', () => {
  const texts = ['猫', 'Cat“s”', '狗', 'cat"S"', '猫', '猫 '].map((text) => ({ text }));
  assert.deepEqual([...numberTexts(texts, 6)], [0, 1, 2, 1, 0, 3]);
});

test('hashes of many similar texts are all different, and the table finds each again', () => {
  const table = new HashTable();
  const texts = Array.from({ length: 200_000 }, (_, i) => `一张图片 ${i.toString(7)}`);
  assert.equal(table.find(hashText(texts[0])), undefined);
  for (const [i, text] of texts.entries()) assert.equal(table.add(hashText(text)), i);
  for (const [i, text] of texts.entries()) assert.equal(table.find(hashText(text)), i);
  assert.equal(table.size, texts.length);
  assert.equal(table.add(hashText(texts[7])), 7);
  assert.equal(table.find(hashText('另一个')), undefined);
});
