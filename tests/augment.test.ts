import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { augmentImage } from '../src/image/augment/augment.js';
import { applyOperation, type Operation, operationNames } from '../src/image/augment/autoAugment.js';
import { randomCrop } from '../src/image/augment/crop.js';
import { equalize } from '../src/image/augment/lookup.js';
import { decodeImage } from '../src/image/decode.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { readSafetensors } from '../src/io/safetensors.js';
import { Random } from '../src/random.js';

const images = join(packageRoot, 'tests', 'fixtures', 'images');

test('every operation gives what Pillow gives, to the bit', () => {
  const golden = readSafetensors(join(images, 'augmented.safetensors'));
  const bytes = (name: string) => Uint8Array.from(golden.get(name)!.data, Number);
  const picture = { width: 14, height: 14, channels: 3, data: bytes('picture') };
  const tested = new Set<string>();
  for (const name of golden.keys()) {
    if (name === 'picture') continue;
    const [operation, magnitude] = name.split(' ');
    const sign = Math.sign(Number(magnitude));
    const result = applyOperation(picture, operation as Operation, Math.abs(Number(magnitude)), () => sign);
    assert.deepEqual(result.data, bytes(name), name);
    tested.add(operation);
  }
  assert.deepEqual([...tested].sort(), [...operationNames].sort());
});

test('equalizing a plain channel leaves it', () => {
  const data = new Uint8Array(400 * 3).map((_, i) => [7, 200, i % 251][i % 3]);
  const { data: equalized } = equalize({ width: 20, height: 20, channels: 3, data });
  assert.deepEqual([...equalized.subarray(0, 2)], [7, 200]);
  assert.notDeepEqual(equalized, data);
});

test('random crops lie inside, keep 90 % and more, and vary; long pictures lose their ends', () => {
  const seen = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const { left, top, width, height } = randomCrop(500, 375, new Random(0, i));
    assert.ok(left >= 0 && top >= 0 && left + width <= 500 && top + height <= 375);
    assert.ok(width * height > 0.895 * 500 * 375, `${width} × ${height}`);
    // The whole picture's ratio is the widest that is allowed.
    assert.ok(width / height < 4 / 3 + 0.01);
    seen.add(`${left} ${top} ${width} ${height}`);
  }
  assert.ok(seen.size > 300);
  assert.deepEqual(randomCrop(1000, 10, new Random(0)), { left: 493, top: 0, width: 13, height: 10 });
  assert.deepEqual(randomCrop(9, 1000, new Random(0)), { left: 0, top: 494, width: 9, height: 12 });
});

test('half of all pictures are mirrored, and the same stream gives the same pixels', async () => {
  const picture = await decodeImage(readFileSync(join(images, 'chelsea-420.jpg')), 'chelsea');
  const draw = (i: number) => augmentImage(picture, 16, new Random(1, i));
  assert.deepEqual(draw(3), draw(3));
  const results = new Set(Array.from({ length: 40 }, (_, i) => Buffer.from(draw(i).data).toString('base64')));
  // At this ratio no crop fits but the one in the middle: operations and mirroring are what varies.
  assert.ok(results.size > 15, `${results.size} of 40`);
  // White on the left, black on the right: which side is lighter tells, unless AutoAugment inverts.
  const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i % 192 < 96 ? 200 : 100));
  const sides = { width: 64, height: 64, channels: 3, data, mode: 'RGB', resampling: 'bicubic' } as const;
  let left = 0;
  for (let i = 0; i < 400; i++) {
    const { data: result } = augmentImage(sides, 16, new Random(2, i));
    const middle = 8 * 16 * 3;
    if (result[middle + 9] > result[middle + 39]) left++;
  }
  assert.ok(left > 120 && left < 280, `${left} of 400`);
});
