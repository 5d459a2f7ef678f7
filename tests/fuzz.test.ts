import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { UserError } from '../src/errors.js';
import { Random } from '../src/random.js';
import { writeSamples } from './checkpointSamples.js';
import { isRefused } from './hostile.js';
import { mutate } from './mutate.js';
import { temporaryDirectory } from './support.js';

const MUTATIONS = 10_000;
/** Milliseconds: nothing that a few kilobytes say may take longer; a reader that hangs is found so. */
const MAX_TIME = 5000;

test(`${MUTATIONS} damaged checkpoints: each is read, or is one error of ours`, async () => {
  const samples = writeSamples(temporaryDirectory());
  for (const { open } of samples) open();
  const others = samples.map(({ bytes }) => bytes);
  let refused = 0;
  for (let seed = 0; seed < MUTATIONS; seed++) {
    // Each is a function of its number alone, so that one can be replayed.
    const { name, path, bytes, open } = samples[seed % samples.length];
    writeFileSync(path, mutate(bytes, others, new Random('fuzz', seed)));
    if (await isRefused(open, `mutation ${seed} of ${name}`, { time: MAX_TIME })) refused++;
    writeFileSync(path, bytes);
  }
  // Most changes are noticed; those of values are not.
  assert.ok(refused > MUTATIONS / 4 && refused < MUTATIONS, `${refused} refused`);
});

test('archives that are cut at any byte, or whose numbers lie', async () => {
  const samples = writeSamples(temporaryDirectory()).slice(0, 4);
  for (const { name, path, bytes, open } of samples) {
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      assert.throws(open, UserError, `${name} cut to ${length} bytes`);
    }
    writeFileSync(path, bytes);
  }
  // Every 64-bit and 32-bit field of the directory of an archive, set to values that overflow.
  const [{ path, bytes, open }] = samples;
  const directory = bytes.indexOf(Buffer.from('504b0102', 'hex'));
  for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    for (let at = directory; at + 8 <= bytes.length; at += 2) {
      const damaged = Buffer.from(bytes);
      damaged.writeBigUInt64LE(value, at);
      writeFileSync(path, damaged);
      await isRefused(open, `${value} at ${at}`, { time: MAX_TIME });
    }
  }
  writeFileSync(path, bytes);
});
