import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDirectoryAtomic, writeDirectoryAtomic, writeFileAtomic } from '../src/io/atomic.js';
import { temporaryDirectory } from './support.js';

test('a file is all of what was appended, or stays as it was', () => {
  const folder = temporaryDirectory();
  const path = join(folder, 'a');
  // What a killed process of the same number may have left.
  writeFileSync(`${path}.${process.pid}.tmp`, 'left');
  const large = Buffer.alloc(3 << 20, 7);
  writeFileAtomic(path, (append) => {
    append('猫');
    append(large);
    append(Buffer.from('end'));
  });
  const whole = Buffer.concat([Buffer.from('猫'), large, Buffer.from('end')]);
  assert.ok(readFileSync(path).equals(whole));
  assert.throws(
    () =>
      writeFileAtomic(path, (append) => {
        append('half');
        throw new Error('stopped');
      }),
    /stopped/,
  );
  assert.ok(readFileSync(path).equals(whole));
  assert.deepEqual(readdirSync(folder), ['a']);
});

test('a directory is replaced, however its path ends, and stays as it was where writing fails', () => {
  const parent = temporaryDirectory();
  for (const [round, end] of ['', '/', '//', '/.', '/'].entries()) {
    const directory = join(parent, 'a') + end;
    writeDirectoryAtomic(directory, (folder) => writeFileSync(join(folder, `${round}`), ''));
    assert.deepEqual(readdirSync(parent), ['a'], `a${end}`);
    assert.deepEqual(readdirSync(directory), [`${round}`], `a${end}`);
  }
  assert.throws(
    () =>
      writeDirectoryAtomic(join(parent, 'a/'), () => {
        throw new Error('stopped');
      }),
    /stopped/,
  );
  assert.deepEqual(readdirSync(join(parent, 'a')), ['4']);
  assert.deepEqual(readdirSync(parent), ['a']);
});

test('a new directory appears with its content, however its path ends; one that is there is left alone', async () => {
  const parent = temporaryDirectory();
  const write = async (folder: string) => writeFileSync(join(folder, 'file'), '');
  for (const [name, end] of [
    ['a', ''],
    ['b', '/'],
    ['c', '/.'],
  ]) {
    await createDirectoryAtomic(join(parent, name) + end, write);
    assert.deepEqual(readdirSync(join(parent, name)), ['file']);
    await assert.rejects(createDirectoryAtomic(join(parent, name) + end, write), /exists already/);
  }
  assert.deepEqual(readdirSync(parent), ['a', 'b', 'c']);
});
