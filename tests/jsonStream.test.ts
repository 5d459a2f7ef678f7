import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JsonStream } from '../src/io/jsonStream.js';

/** Parses text in chunks of so many bytes and builds its value again. */
function parse(text: string, chunkSize: number): unknown {
  const root: unknown[] = [];
  const open: (unknown[] | Record<string, unknown>)[] = [root];
  const keys: string[] = [];
  const add = (value: unknown) => {
    const target = open.at(-1)!;
    if (Array.isArray(target)) target.push(value);
    else target[keys.pop()!] = value;
  };
  const stream = new JsonStream({
    begin(kind) {
      const value = kind === 'array' ? [] : {};
      add(value);
      open.push(value);
    },
    end: () => open.pop(),
    key: (name) => keys.push(name),
    scalar: add,
  });
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; start += chunkSize)
    stream.push(bytes.subarray(start, start + chunkSize));
  stream.finish();
  return root[0];
}

test('values come as JSON.parse gives them, wherever the chunks are cut', () => {
  const texts = [
    '{"data":[{"a":1,"b":[[0.25,1e-6,-3],[]]},{}],"c":null}',
    ' [ true , false , "a\\"]},{" , "猫\\u732b\\n" ] \n',
    '12',
    '"x"',
    '{"":{"[":"\\\\"}}',
  ];
  for (const text of texts) {
    for (const size of [1, 2, 3, 7, 1000])
      assert.deepEqual(parse(text, size), JSON.parse(text), `${text} ${size}`);
  }
});

test('what is no JSON is refused, wherever the chunks are cut', () => {
  const texts = [
    ...[
      '',
      '[',
      '[1',
      '{"a"',
      '{"a":',
      '[1,]',
      '{"a":1,}',
      '[1 2]',
      '{a:1}',
      '{1:2}',
      '[1]]',
      '1 2',
      '[01]',
      '[nul]',
    ],
    ...[
      '"',
      '["a]',
      '{"a":1]',
      '[1}',
      '["a"b]',
      '[a"b"]',
      '[1:2]',
      '{"a",1}',
      '[,1]',
      ']',
      '[1][2]',
      '{"a" "b"}',
    ],
    '['.repeat(65),
  ];
  for (const text of texts) {
    for (const size of [1, 3, 1000]) assert.throws(() => parse(text, size), SyntaxError, `${text} ${size}`);
  }
});

test('a token of any length does not fill the memory', () => {
  const stream = new JsonStream({ begin() {}, end() {}, key() {}, scalar() {} });
  stream.push(Buffer.from('"'));
  assert.throws(() => {
    for (let i = 0; i < 100; i++) stream.push(Buffer.alloc(1 << 12, 0x61));
  }, /longer than 65536 bytes/);
});
