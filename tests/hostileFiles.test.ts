import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { convertCheckpoint } from '../src/checkpoint/convert.js';
import { openWeights } from '../src/checkpoint/files.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { writeZip } from '../src/checkpoint/torch/writeZip.js';
import { UserError } from '../src/errors.js';
import { writeFileAtomic } from '../src/io/atomic.js';
import { legacyFile, writeSamples } from './checkpointSamples.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
const marker = join(folder, 'executed');
const MAX_MESSAGE = 2000;
const MAX_GROWTH = 400 * 2 ** 20;
let files = 0;

/** Opening must give one typed error that names the file, soon and without filling the memory. */
function assertRefused(path: string, message: RegExp, open = () => void readAll(path)): void {
  const before = process.memoryUsage().rss;
  const began = performance.now();
  assert.throws(open, (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.match(error.message, message);
    assert.ok(error.message.length < MAX_MESSAGE, `${error.message.length} characters`);
    assert.ok(error.message.includes(folder), error.message);
    return true;
  });
  assert.ok(performance.now() - began < 10_000, 'it took more than ten seconds');
  assert.ok(process.memoryUsage().rss - before < MAX_GROWTH, 'it took too much memory');
  assert.ok(!existsSync(marker), 'something in the file was executed');
}

function readAll(path: string): void {
  for (const tensor of openWeights(path).tensors.values()) tensor.read();
}

function write(bytes: string | Uint8Array, extension = 'pt'): string {
  const path = join(folder, `${files++}.${extension}`);
  writeFileSync(path, bytes);
  return path;
}

const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const text = (value: string) =>
  Buffer.concat([Buffer.from('X'), uint32(Buffer.byteLength(value)), Buffer.from(value)]);

/** An archive of torch.save whose pickle is these bytes. */
function archive(...pickle: (string | Uint8Array)[]): string {
  const path = join(folder, `${files++}.pt`);
  const parts = pickle.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part));
  const data = Buffer.concat([Buffer.from([0x80, 2]), ...parts]);
  const storage = Buffer.from(Float32Array.of(1, 2).buffer);
  writeFileAtomic(path, (append) =>
    writeZip(append, [
      { name: 'a/data.pkl', read: () => data },
      { name: 'a/data/0', read: () => storage },
    ]),
  );
  return path;
}

const storage = Buffer.concat([
  Buffer.from('('),
  text('storage'),
  Buffer.from('ctorch\nFloatStorage\n'),
  text('0'),
  text('cpu'),
  Buffer.from('K\x02tQ'),
]);
/** {"w": tensor} with offset, shape and strides as given, in pickled form. */
const tensor = (offset: string, shape: string, strides: string) => [
  '}',
  text('w'),
  'ctorch._utils\n_rebuild_tensor_v2\n(',
  storage,
  `${offset}${shape}${strides}\x89ccollections\nOrderedDict\n)RtRs.`,
];
const double = (value: number) => {
  const bytes = Buffer.alloc(9, 'G');
  bytes.writeDoubleBE(value, 1);
  return bytes.toString('latin1');
};

test('pickles that name something to run are refused by name, however they call it', () => {
  const functions = [
    'os system',
    'posix system',
    'subprocess Popen',
    'builtins eval',
    'builtins exec',
    '__builtin__ eval',
    '__builtin__ getattr',
    'torch load',
    'torch.storage _load_from_bytes',
    'importlib import_module',
    'operator attrgetter',
  ];
  for (const name of functions) {
    const [module, callee] = name.split(' ');
    const named = new RegExp(`${module}.${callee}`.replaceAll('.', '\\.'));
    const args = Buffer.concat([text(`touch ${marker}`), Buffer.from('\x85', 'latin1')]);
    assertRefused(archive(`c${module}\n${callee}\n`, args, 'R.'), named); // REDUCE
    assertRefused(archive(`c${module}\n${callee}\n`, args, '\x81.'), named); // NEWOBJ
    assertRefused(archive(text(module), text(callee), '\x93', args, 'R.'), named); // STACK_GLOBAL
    // As the class of a storage that a persistent id asks for.
    const id = Buffer.concat([Buffer.from('('), text('storage'), Buffer.from(`c${module}\n${callee}\n`)]);
    assertRefused(archive(id, text('0'), text('cpu'), 'K\x02tQ.'), named);
  }
  // Naming one without calling it does nothing; the file then holds no tensor.
  assertRefused(archive('}', text('w'), 'cos\nsystem\ns.'), /holds no tensors/);
  // BUILD with attributes for a function.
  assertRefused(archive('cos\nsystem\n}', text('__call__'), text('x'), 'sb.'), /holds no tensors/);
});

test('tensors that reach outside of their storage, or are described by what is no size', () => {
  const one = '\x85';
  const sized = (size: string) => [`${size}${one}`, `K\x01${one}`] as const;
  assertRefused(archive(...tensor('K\x00', ...sized('K\x03'))), /beyond its storage/);
  assertRefused(archive(...tensor('K\x01', ...sized('K\x02'))), /beyond its storage/);
  assertRefused(archive(...tensor('J\xff\xff\xff\xff', ...sized('K\x01'))), /described wrongly/);
  for (const size of [NaN, Infinity, 1.5, -1]) {
    assertRefused(archive(...tensor('K\x00', ...sized(double(size)))), /described wrongly/);
  }
  const large = `\x8a\x08${'\xff'.repeat(7)}\x7f`;
  assertRefused(archive(...tensor('K\x00', ...sized(large))), /described wrongly/);
  assertRefused(archive(...tensor(large, ...sized('K\x01'))), /described wrongly/);
  // A stride of zero names two billion values of a storage of two.
  const endless = `J\xff\xff\xff\x7f${one}`;
  assertRefused(archive(...tensor('K\x00', endless, `K\x00${one}`)), /the file only/);
  const rank = 100_000;
  const many = `(${'K\x01'.repeat(rank)}t`;
  assert.doesNotThrow(() => readAll(archive(...tensor('K\x00', many, many))));
  const huge = `(${'J\xff\xff\xff\x7f'.repeat(rank)}t`;
  assertRefused(archive(...tensor('K\x00', huge, many)), /beyond its storage|the file only/);
});

test('pickles that would fill the memory, recurse or never end', () => {
  assertRefused(archive(']'.repeat(5_000_000), '.'), /more operations/);
  assertRefused(archive(']q\x00(', 'h\x00'.repeat(4_100_000), 'e.'), /more operations/);
  assertRefused(archive('X', uint32(0xffffffff), 'short'), /cut off/);
  assertRefused(archive('B', uint32(0x7fffffff), 'short'), /cut off/);
  assertRefused(archive('\x8d', 'ÿ'.repeat(8), 'short'), /cut off/);
  // A list within itself, and a module within itself.
  assertRefused(archive(']q\x00h\x00a.'), /holds no tensors/);
  assertRefused(
    archive('c__torch__\nLoop\n)\x81q\x00}', text('self'), 'h\x00sb.'),
    /holds no tensors|nested/,
  );
  // Nested deeper than the stack of calls could follow.
  assertRefused(archive(`]`.repeat(500_000), 'a'.repeat(499_999), '.'), /holds no tensors/);
  const long = 'x'.repeat(5_000_000);
  assertRefused(archive(`c${long}\ny\n)R.`), /asks for x+/);
  assertRefused(archive('}', text(long), `cos\nsystem\n)Rs.`), /os\.system/);
});

test('archives that are cut at any byte, or whose numbers lie', () => {
  const samples = writeSamples(folder).slice(0, 4);
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
      try {
        open();
      } catch (error) {
        assert.ok(error instanceof UserError, `${value} at ${at}: ${error}`);
      }
    }
  }
  writeFileSync(path, bytes);
});

test('a legacy file whose storages lie about their number', () => {
  const bytes = legacyFile();
  const count = bytes.length - 12 - 8;
  for (const value of [-1n, 7n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    const damaged = Buffer.from(bytes);
    damaged.writeBigInt64LE(value, count);
    assertRefused(write(damaged), /cut off/);
  }
});

test('a compressed pickle is not inflated', () => {
  const data = deflateRawSync(Buffer.alloc(64 * 2 ** 20));
  const path = archive(data);
  const bytes = readFileSync(path);
  // Says that every member is deflated.
  for (const signature of ['504b0102', '504b0304']) {
    const at = bytes.indexOf(Buffer.from(signature, 'hex'));
    bytes.writeUInt16LE(8, at + (signature === '504b0102' ? 10 : 8));
  }
  writeFileSync(path, bytes);
  assertRefused(path, /no data\.pkl, stored without compression/);
});

test('a safetensors header of 100 MB is not read', () => {
  const path = write('', 'safetensors');
  const prefix = Buffer.alloc(9, '{');
  prefix.writeBigUInt64LE(100_000_000n);
  writeFileSync(path, prefix);
  truncateSync(path, 200_000_000);
  assertRefused(path, /100000000 bytes, at most/);
});

test('an index that points elsewhere', () => {
  const index = (content: unknown) => {
    const path = join(folder, `${files++}.index.json`);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };
  const outside = [
    '../x.safetensors',
    '/etc/passwd',
    '..\\x.safetensors',
    'a/b.bin',
    '..',
    '',
    'x.index.json',
  ];
  for (const file of outside) {
    assertRefused(index({ weight_map: { w: file } }), /is no file of weights beside it/);
  }
  assertRefused(index({ weight_map: { w: 'missing.safetensors' } }), /missing\.safetensors: can't be opened/);
  const shards = Array.from({ length: 100_000 }, (_, i) => [`w${i}`, `${i}.safetensors`]);
  assertRefused(index({ weight_map: Object.fromEntries(shards) }), /names 100000 files/);
  assertRefused(index({ weight_map: ['a.safetensors'] }), /is no index of shards/);
  assertRefused(index([]), /is no index of shards/);
  assertRefused(index('{"weight_map"'), /is no JSON/);
  assertRefused(index('['.repeat(1_000_000)), /is no JSON/);
});

test('configs and states of other kinds', () => {
  const place = join(folder, 'configs');
  mkdirSync(place);
  const sample = writeSamples(place).find(({ name }) => name === 'Hugging Face config')!;
  const set = (content: string) => writeFileSync(sample.path, content);
  for (const content of [
    '{"model_type": "bert"}',
    '{"model_type": "chinese_clip"}',
    '{"model_type": "chinese_clip", "text_config": [], "vision_config": {}}',
    '{"model_type": "chinese_clip", "text_config": {"hidden_size": 9007199254740993}, "vision_config": {}}',
    '{"model_type": "chinese_clip", "text_config": {"hidden_size": 1e999}, "vision_config": {}}',
    '{"model_type": "chinese_clip", "text_config": {"hidden_act": "relu"}, "vision_config": {}}',
    '{"model_type": "chinese_clip", "text_config": {}, "vision_config": {"num_attention_heads": 7}}',
    `{"a": ${'['.repeat(100_000)}`,
    'null',
    '5',
  ]) {
    set(content);
    assert.throws(sample.open, UserError, content.slice(0, 100));
  }
});

test('a hostile source leaves nothing behind', () => {
  const place = join(folder, 'place');
  mkdirSync(place);
  const source = archive('cos\nsystem\n', text('true'), '\x85R.');
  for (const to of ['pt', 'safetensors', 'huggingface'] as const) {
    assert.throws(() => convertCheckpoint(source, join(place, 'out'), { to, dtype: 'keep' }), UserError);
  }
  assert.deepEqual(readdirSync(place), []);
  assert.throws(() => openCheckpoint(source), UserError);
});
