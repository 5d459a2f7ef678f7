import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { tarMembers } from '../src/io/tar.js';
import { Random } from '../src/random.js';
import { assertRefused, isRefused, scratch } from './hostile.js';
import { mutate } from './mutate.js';
import { pax, sealed, tar, tarMember } from './tarBytes.js';

const { folder, write } = scratch();

/** Name and content of every member. */
function contents(path: string): Record<string, string> {
  const bytes = readFileSync(path);
  const file = openSync(path, 'r');
  try {
    return Object.fromEntries(
      Array.from(tarMembers(file, path), ({ name, offset, size }) => [
        name,
        bytes.toString('latin1', offset, offset + size),
      ]),
    );
  } finally {
    closeSync(file);
  }
}

test('names of every form, sizes of both forms; folders and links are passed over', () => {
  const long = `${'目录/'.repeat(40)}猫.txt`;
  const path = write(
    tar(
      { name: 'folder/', type: '5' },
      { name: 'a.txt', content: 'one' },
      { name: 'b.txt', prefix: 'deep/er', content: 'x'.repeat(512) },
      { name: '././@LongLink', type: 'L', content: `${long}\0` },
      { name: 'cut', content: 'long' },
      { name: 'link', type: '2', linkName: '/etc/passwd' },
      pax({ path: `${long}2`, size: '3', mtime: '1.5' }),
      { name: 'cut', content: 'pax', size: 0 },
      pax({ comment: 'of the folder alone' }),
      { name: 'g', type: 'g' },
      { name: 'old', type: '\0', content: '' },
      { name: 'base256', content: 'four', size: '\x80\0\0\0\0\0\0\0\0\0\0\x04' },
    ),
  );
  assert.deepEqual(contents(path), {
    'a.txt': 'one',
    'deep/er/b.txt': 'x'.repeat(512),
    [long]: 'long',
    [`${long}2`]: 'pax',
    old: '',
    base256: 'four',
  });
});

test('archives that tar itself wrote, in three formats', (t) => {
  const source = join(folder, 'source');
  const name = `${'long-'.repeat(30)}猫.txt`;
  mkdirSync(source);
  writeFileSync(join(source, name), 'content');
  writeFileSync(join(source, 'short.jpg'), 'y'.repeat(70_000));
  for (const format of ['ustar', 'gnu', 'pax']) {
    const path = join(folder, `${format}.tar`);
    const names = format === 'ustar' ? ['short.jpg'] : [name, 'short.jpg'];
    try {
      execFileSync('tar', ['--format', format, '-C', source, '-cf', path, ...names], { stdio: 'pipe' });
    } catch {
      t.skip('there is no tar that knows --format');
      return;
    }
    const found = contents(path);
    assert.deepEqual(Object.keys(found), names, format);
    assert.equal(found['short.jpg'], 'y'.repeat(70_000));
  }
});

test('what is no whole archive is refused with its offset', () => {
  const good = tar({ name: 'a', content: 'x'.repeat(600) }, { name: 'b', content: 'y' });
  const header = (change: (header: Buffer) => void) => {
    const bytes = tarMember({ name: 'a' });
    change(bytes);
    return Buffer.concat([sealed(bytes), Buffer.alloc(1024)]);
  };
  const unsealed = Buffer.from(good);
  unsealed[3] ^= 1;
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty', Buffer.alloc(0), /offset 0: the archive is cut off/],
    ['no tar', Buffer.alloc(2048, 'no archive at all '), /offset 0.*no (number|header)/],
    ['cut in a header', good.subarray(0, 100), /offset 0: the archive is cut off/],
    ['cut in a member', good.subarray(0, 1000), /offset 0: the archive is cut off, its member needs 1112/],
    ['cut after a member', good.subarray(0, 1536), /offset 1536: the archive is cut off, it has no end mark/],
    ['cut after all members', good.subarray(0, 2560), /offset 2560: .*no end mark/],
    ['joined with cat', Buffer.concat([good, good]), /offset 2560: the archive goes on after its end mark/],
    ['wrong checksum', unsealed, /offset 0: .*checksum is wrong/],
    ['gzip', gzipSync(good), /packed with gzip.*gunzip --keep/],
    ['size of 2^88', header((bytes) => bytes.fill(0xff, 124, 136)), /offset 0: the size is no number/],
    [
      'size beyond the file',
      header((bytes) => bytes.write('77777777777\0', 124)),
      /cut off, its member needs/,
    ],
    ['sparse', tar({ name: 'a', type: 'S' }), /sparse/],
    [
      'long name of 1 GB',
      tar({ name: 'a', type: 'L', content: 'x'.repeat(5000) }),
      /long name has 5000 bytes/,
    ],
    ['pax of nothing', tar({ name: 'a', type: 'x', content: '0 =\n' }), /PAX header is damaged/],
    ['pax beyond its end', tar({ name: 'a', type: 'x', content: '99 path=a\n' }), /PAX header is damaged/],
    ['pax with a size that is none', tar(pax({ size: '-5' }), { name: 'a' }), /PAX header is damaged/],
    ['pax sparse', tar(pax({ 'GNU.sparse.major': '1' }), { name: 'a' }), /sparse/],
  ];
  for (const [what, bytes, message] of cases) {
    const path = write(bytes, '.tar');
    assertRefused(() => contents(path), path, message, what);
  }
});

test('3000 damaged archives: each is read, or is one error of ours', async () => {
  const good = tar(
    { name: 'a.jpg', content: 'x'.repeat(700) },
    pax({ path: 'b.jpg', size: '4' }),
    { name: 'b', content: 'abcd' },
    { name: '././@LongLink', type: 'L', content: `${'n'.repeat(200)}\0` },
    { name: 'n', content: 'text' },
  );
  const path = write(good, '.tar');
  let refused = 0;
  for (let seed = 0; seed < 3000; seed++) {
    let bytes = mutate(good, [good], new Random('tar', seed));
    // With the right checksum the changes come further than the first check.
    if (seed % 2 === 0 && bytes.length >= 512) bytes = sealed(Buffer.from(bytes));
    writeFileSync(path, bytes);
    if (await isRefused(() => contents(path), `mutation ${seed}`, { file: path })) refused++;
  }
  assert.ok(refused > 300 && refused < 3000, `${refused} refused`);
});
