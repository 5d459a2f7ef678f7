import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCsv } from '../src/io/csv.js';
import { Random } from '../src/random.js';
import { assertRefused, isRefused, scratch } from './hostile.js';

const { write } = scratch();

function rows(content: string | Uint8Array, delimiter: ',' | '\t' = ','): string[][] {
  return Array.from(readCsv(write(content, '.csv'), delimiter), ({ fields }) => fields);
}

test('fields plain, quoted, with delimiters, line breaks and quotes in them', () => {
  assert.deepEqual(rows('a,b\n1,2\n'), [
    ['a', 'b'],
    ['1', '2'],
  ]);
  assert.deepEqual(rows('\ufeffa,b\r\n"1,\r\n2","say ""猫"""\r\n'), [
    ['a', 'b'],
    ['1,\r\n2', 'say "猫"'],
  ]);
  assert.deepEqual(rows('a,,"",\n\n,\n'), [
    ['a', '', '', ''],
    ['', ''],
  ]);
  assert.deepEqual(rows('5" tall,x'), [['5" tall', 'x']]);
  assert.deepEqual(rows('""""\n'), [['"']]);
  assert.deepEqual(rows('""\n'), [['']]);
  assert.deepEqual(rows('"a"'), [['a']]);
  assert.deepEqual(rows(''), []);
  assert.deepEqual(rows('a,b\tc, d\t"e\tf"\n', '\t'), [['a,b', 'c, d', 'e\tf']]);
});

test('rows know their line', () => {
  const path = write('a\n"b\nc"\n\nd\n', '.csv');
  assert.deepEqual(
    Array.from(readCsv(path), ({ line }) => line),
    [1, 2, 5],
  );
});

test('any table that is written comes back, wherever the chunks of reading end', () => {
  const random = new Random('csv');
  const letters = ['a', '"', ',', '\n', '\r', '猫', ' ', '\r\n'];
  const field = () => Array.from({ length: random.integer(6) }, () => letters[random.integer(8)]).join('');
  // Long enough that reads end in the middle of characters, quotes and line ends.
  const table = Array.from({ length: 150_000 }, () => [field(), field(), 'x']);
  const text = table
    .map((row) => row.map((each) => `"${each.replaceAll('"', '""')}"`).join(','))
    .join('\r\n');
  assert.ok(Buffer.byteLength(text) > 2 << 20);
  assert.deepEqual(rows(text), table);
});

test('a table that is none is refused with its line', () => {
  const cases: [string, string | Uint8Array, RegExp][] = [
    ['open quote', 'a\n"b\nc', /line 2: a quote is not closed/],
    ['text after a quote', 'a\n"b"c\n', /line 2: text after a closing quote: "c"/],
    ['lone carriage return', 'a\rb\n', /line 1: a carriage return/],
    ['quote that never closes', `a\n"${'x'.repeat(3 << 20)}`, /line 2: the row has more than a million/],
    ['row that never ends', `a\n${','.repeat(3 << 20)}`, /line 2: the row has more than a million/],
    ['no UTF-8', Buffer.from('a\n\xff\n', 'latin1'), /not UTF-8/],
    ['UTF-8 that is cut', Buffer.from('a\n猫').subarray(0, 3), /not UTF-8/],
  ];
  for (const [what, content, message] of cases) {
    const path = write(content, '.csv');
    assertRefused(() => [...readCsv(path)], path, message, what);
  }
});

test('2000 strings of all that is special: rows or one error of ours', async () => {
  const pieces = ['a', '"', ',', '\n', '\r', '\0', '猫', '""', '\r\n'];
  for (let seed = 0; seed < 2000; seed++) {
    const random = new Random('csv', seed);
    const text = Array.from({ length: random.integer(30) }, () => pieces[random.integer(9)]).join('');
    await isRefused(() => rows(text), JSON.stringify(text));
  }
});
