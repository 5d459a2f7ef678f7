import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTorchFile } from '../src/checkpoint/torch/read.js';
import { assertRefused, readAllOf, scratch } from './hostile.js';
import {
  archive,
  bytes,
  dictionary,
  float,
  integer,
  legacy,
  long,
  named,
  pair,
  pickleOf,
  storage,
  tensor,
  text,
  tuple,
  uint32,
  uint64,
} from './torchBytes.js';

const { folder, write } = scratch();

/** The pickle is refused in both forms of PyTorch files. */
function refused(pickle: Uint8Array, message: RegExp, what: string): void {
  const hasStorage = Buffer.from(pickle).includes('FloatStorage');
  for (const [form, content] of [
    ['zip', archive(pickle)],
    ['legacy', hasStorage ? legacy(pickle) : legacy(pickle, pickleOf(']'), new Uint8Array())],
  ] as const) {
    const path = write(content);
    assertRefused(() => readAllOf(path), path, message, `${what}, ${form}`);
  }
}

/** A checkpoint that is in order but for one more entry. */
const withEntry = (...parts: readonly (string | Uint8Array)[]) =>
  pickleOf(dictionary(text('weight'), pair, text('extra'), bytes(...parts)));

/** As many operations as there are. */
const repeat = (times: number, ...parts: readonly (string | Uint8Array)[]) =>
  Buffer.alloc(bytes(...parts).length * times, bytes(...parts));

const put = (key: number) => bytes('r', uint32(key));
const get = (key: number) => bytes('j', uint32(key));
const ofModule = bytes(named('__torch__', 'M'), ')R');

test('what would run is refused by name, however it is called, and nothing runs', () => {
  const marker = join(folder, 'marker');
  const names: [string, string][] = [
    ['os', 'system'],
    ['posix', 'system'],
    ['nt', 'system'],
    ['subprocess', 'Popen'],
    ['builtins', 'eval'],
    ['builtins', 'exec'],
    ['builtins', 'getattr'],
    ['__builtin__', 'getattr'],
    ['__builtin__', 'eval'],
    ['torch', 'load'],
    ['torch.jit', 'load'],
    ['runpy', '_run_code'],
    ['__proto__', 'constructor'],
    ['constructor', 'constructor'],
  ];
  const argument = tuple(text(`touch ${marker}`));
  for (const [module, name] of names) {
    const known = named(module, name);
    const onStack = bytes(text(module), text(name), '\x93');
    const calls: Record<string, Uint8Array> = {
      REDUCE: bytes(known, argument, 'R'),
      NEWOBJ: bytes(known, argument, '\x81'),
      'STACK_GLOBAL and REDUCE': bytes(onStack, argument, 'R'),
      'STACK_GLOBAL and NEWOBJ': bytes(onStack, argument, '\x81'),
      'by memo': bytes(known, put(5), '0', get(5), argument, 'R'),
      BUILD: bytes(known, argument, 'b'),
      'REDUCE and BUILD': bytes(known, argument, 'R', argument, 'b'),
      'a persistent id': bytes(known, 'Q'),
      'the class of a storage': storage(text('0'), known),
      'inside a persistent id': bytes(tuple(known, text('FloatStorage'), text('0')), 'Q'),
    };
    for (const [how, call] of Object.entries(calls)) {
      const escaped = new RegExp(`${module}\\.${name}`);
      refused(withEntry(call), escaped, `${module}.${name} by ${how}`);
      refused(pickleOf(call), escaped, `${module}.${name} by ${how} alone`);
    }
  }
  const others: Record<string, Uint8Array> = {
    INST: bytes('(', text('x'), 'ios\nsystem\n'),
    OBJ: bytes('(', named('os', 'system'), text('x'), 'o'),
    NEWOBJ_EX: bytes(named('os', 'system'), ')}\x92'),
    EXT1: bytes('\x82\x01'),
    PERSID: bytes('P0\n'),
  };
  for (const [how, call] of Object.entries(others)) refused(withEntry(call), /opcode 0x/, how);
  refused(withEntry(text('os.system'), ')R'), /calls what is no class/, 'a call of text');
  refused(withEntry(named('collections', 'OrderedDict'), ')R)R'), /calls what is no class/, 'of a value');
  refused(withEntry('N', ')R'), /calls what is no class/, 'a call of None');
  assert.ok(!existsSync(marker));
});

test('values that hold themselves end', () => {
  const list = bytes(']', put(1), get(1), 'a');
  const map = bytes('}', put(2), text('self'), get(2), 's');
  for (const pickle of [withEntry(list), withEntry(map)]) readAllOf(write(archive(pickle)));
  const root = pickleOf('}', put(3), text('state_dict'), get(3), 's', text('w'), pair, 's');
  assert.deepEqual([...openTorchFile(write(archive(root))).tensors.keys()], ['w']);
  const cyclic = bytes(ofModule, put(4), dictionary(text('child'), get(4)), 'b');
  refused(pickleOf(cyclic), /nested more than 50 deep/, 'a module in itself');
  // Each module has the one before it twice: 2^40 paths.
  let modules = bytes(ofModule, put(0), '0');
  for (let i = 1; i <= 40; i++) {
    const children = dictionary(text('a'), get(i - 1), text('b'), get(i - 1));
    modules = bytes(modules, ofModule, put(i), children, 'b', '0');
  }
  refused(pickleOf(modules, get(40)), /more than \d+ entries/, 'modules shared again and again');
});

test('pickles that grow: bounded in time, memory and message', () => {
  const megabyte = 'x'.repeat(1 << 20);
  const long1 = bytes('\x8a\xff', Buffer.alloc(255, 0x77));
  const manyPairs = bytes(
    '](',
    ...Array.from({ length: 40_000 }, (_, i) => bytes(integer(i), 'N\x86')),
    'e',
    put(1),
    '0',
  );
  const call = (module: string, name: string, argument: Uint8Array) =>
    bytes(named(module, name), put(7), '0', repeat(40_000, bytes(get(7), argument, '\x85R')));
  // A list of nine lists of nine lists …: its text would be endless.
  let laughs = bytes('](', ...Array.from({ length: 9 }, () => text('ha')), 'e', put(0), '0');
  for (let i = 1; i <= 12; i++) laughs = bytes(laughs, '](', repeat(9, get(i - 1)), 'e', put(i), '0');
  const ones = (length: number) => bytes('(', repeat(length, 'K\x01'), 't');
  const bombs: [string, Uint8Array, RegExp][] = [
    ['EMPTY_LIST', pickleOf(repeat(4_000_000, ']')), /more operations/],
    ['EMPTY_DICT', pickleOf(repeat(4_000_000, '}')), /more operations/],
    ['EMPTY_TUPLE', pickleOf(repeat(4_000_000, ')')), /more operations/],
    ['MARK', pickleOf(repeat(4_000_000, '(')), /more operations/],
    ['NONE', pickleOf(repeat(4_000_000, 'N')), /more operations/],
    ['nested lists', pickleOf(repeat(2_000_000, ']'), repeat(2_000_000, 'a')), /more operations/],
    ['nested tuples', pickleOf(')', repeat(3_000_000, '\x85')), /more operations/],
    ['empty bytes', pickleOf(repeat(3_000_000, 'C\x00')), /more operations/],
    ['PROTO', pickleOf(repeat(3_000_000, '\x80\x02')), /more operations/],
    ['MEMOIZE', pickleOf('N', repeat(4_000_000, '\x94')), /more operations/],
    [
      'LONG_BINPUT',
      pickleOf('N', Buffer.concat(Array.from({ length: 600_000 }, (_, i) => put(i)))),
      /more operations/,
    ],
    ['BINFLOAT', pickleOf(repeat(800_000, float(0.1))), /more operations/],
    ['modules', pickleOf(ofModule, repeat(200_000, ofModule)), /more operations/],
    ['LONG1 junk', pickleOf(repeat(30_000, long1)), /more operations|no tensors|stack/],
    ['too large', pickleOf(repeat(9_000_000, 'N')), /bytes, more than|operations/],
    ['BINUNICODE of 4 GB', pickleOf('X', uint32(2 ** 32 - 1)), /cut off/],
    ['BINBYTES of 4 GB', pickleOf('B', uint32(2 ** 32 - 1)), /cut off/],
    ['BINSTRING of -1', pickleOf('T', uint32(2 ** 32 - 1)), /cut off/],
    ['BINUNICODE8 of 2^63', pickleOf('\x8d', uint64(2n ** 63n)), /cut off/],
    ['BINUNICODE8 of 2^64 - 1', pickleOf('\x8d', uint64(2n ** 64n - 1n)), /cut off/],
    ['BINUNICODE8 of 2^53 + 1', pickleOf('\x8d', uint64(2n ** 53n + 1n)), /cut off/],
    ['a long class', pickleOf(`c${megabyte}\nx\n)R`), /name of a class is too long/],
    ['a long class on the stack', pickleOf(text(megabyte), text('x'), '\x93)R'), /is too long/],
    [
      'a long class by memo',
      pickleOf(text(megabyte), put(0), '0', repeat(20_000, bytes(get(0), get(0), '\x93)R'))),
      /is too long/,
    ],
    ['a class whose name is a tree of lists', pickleOf(laughs, get(12), text('x'), '\x93)R'), /has no name/],
    ['a long name', pickleOf(dictionary(text(megabyte), pair)), /name of a tensor has more than/],
    [
      'a long key',
      pickleOf(dictionary(text('w'), tensor(tuple(), tuple(), integer(0), storage(text(megabyte))))),
      /key has/,
    ],
    ['a long class of storage', pickleOf(storage(text('0'), bytes(`ctorch\n${megabyte}\n`))), /is too long/],
    [
      'OrderedDict of the same pairs',
      pickleOf(manyPairs, call('collections', 'OrderedDict', get(1))),
      /operations/,
    ],
    [
      'the same text as bytes',
      pickleOf(text(megabyte), put(1), '0', call('_codecs', 'encode', get(1)), 'N'),
      /no tensors|empty/,
    ],
    [
      'the same arguments',
      pickleOf(
        ones(40_000),
        put(1),
        '0',
        named('__torch__', 'M'),
        put(2),
        '0',
        repeat(40_000, bytes(get(2), get(1), 'R')),
      ),
      /more operations/,
    ],
    [
      'a shape of 10,000 axes',
      pickleOf(dictionary(text('w'), tensor(ones(10_000), ones(10_000)))),
      /described wrongly/,
    ],
    ['17 axes', pickleOf(dictionary(text('w'), tensor(ones(17), ones(17)))), /described wrongly/],
    [
      'many names of a tensor',
      pickleOf(
        pair,
        put(1),
        '0',
        '}(',
        ...Array.from({ length: 60_000 }, (_, i) => bytes(text(`${i}`), get(1))),
        'u',
      ),
      /more than \d+ entries/,
    ],
  ];
  for (const [what, pickle, message] of bombs) refused(pickle, message, what);
});

test('the optimizer’s state: what is no number is not turned into one', () => {
  let laughs = bytes('](', ...Array.from({ length: 9 }, () => text('ha')), 'e', put(0), '0');
  for (let i = 1; i <= 12; i++) laughs = bytes(laughs, '](', repeat(9, get(i - 1)), 'e', put(i), '0');
  const checkpoint = (step: Uint8Array, rate = float(0.1), betas = tuple(float(0.9), float(0.98))) => {
    const moments = dictionary(text('step'), step, text('exp_avg'), pair, text('exp_avg_sq'), pair);
    const group = (...params: Uint8Array[]) =>
      dictionary(
        ...[text('params'), bytes('](', ...params, 'e'), text('lr'), rate, text('betas'), betas],
        ...[text('eps'), float(1e-6), text('weight_decay'), float(0.2)],
      );
    const groups = bytes('](', group(), group(integer(0)), 'e');
    const optimizer = dictionary(
      text('state'),
      dictionary(integer(0), moments),
      text('param_groups'),
      groups,
    );
    return pickleOf(
      laughs,
      dictionary(
        ...[text('epoch'), integer(1), text('step'), integer(1), text('optimizer'), optimizer],
        ...[text('state_dict'), dictionary(text('text_projection'), pair)],
      ),
    );
  };
  readAllOf(write(archive(checkpoint(integer(3)))));
  const steps: Uint8Array[] = [
    get(12),
    float(NaN),
    float(Infinity),
    float(0.5),
    integer(-1),
    long(2n ** 62n),
    text('3'),
    bytes('N'),
  ];
  for (const step of steps) refused(checkpoint(step), /how many steps/, 'a step that is no count');
  for (const rate of [get(12), float(NaN), float(-Infinity), text('0.1'), bytes('N')]) {
    refused(checkpoint(integer(3), rate), /no lr/, 'a rate that is no number');
    refused(checkpoint(integer(3), float(0.1), tuple(rate, rate)), /no betas/, 'betas that are no numbers');
  }
});

test('shapes, strides and offsets', () => {
  const one = tuple(integer(1));
  const two = tuple(integer(2));
  const sizes: [string, Uint8Array][] = [
    ['NaN', float(NaN)],
    ['Infinity', float(Infinity)],
    ['-Infinity', float(-Infinity)],
    ['0.5', float(0.5)],
    ['1e300', float(1e300)],
    ['-1', integer(-1)],
    ['2^53', long(2n ** 53n)],
    ['2^63 - 1', long(2n ** 63n - 1n)],
    ['-2^63', long(-(2n ** 63n))],
    ['a big integer', bytes('\x8a\xff', Buffer.alloc(254, 0xff), '\x7f')],
    ['text', text('2')],
    ['None', bytes('N')],
    ['true', bytes('\x88')],
    ['a list', bytes(']')],
  ];
  const of = (...given: Parameters<typeof tensor>) => pickleOf(dictionary(text('w'), tensor(...given)));
  for (const [what, size] of sizes) {
    refused(of(tuple(size), one), /described wrongly/, `a shape of ${what}`);
    refused(of(two, tuple(size)), /described wrongly/, `a stride of ${what}`);
    refused(of(two, one, size), /described wrongly/, `an offset of ${what}`);
  }
  const largest = long(2n ** 53n - 1n);
  refused(of(tuple(largest), one), /beyond its storage/, 'a huge shape');
  refused(of(two, tuple(largest)), /beyond its storage/, 'a huge stride');
  refused(of(two, one, largest), /beyond its storage/, 'a huge offset');
  refused(of(two, one, integer(1)), /beyond its storage/, 'one element beyond');
  refused(of(two, tuple()), /described wrongly/, 'strides of another rank');
  const zeros = (n: number) => tuple(...Array.from({ length: n }, () => integer(0)));
  const many = (n: number, size: Uint8Array) => tuple(...Array.from({ length: n }, () => size));
  refused(of(tuple(integer(1 << 30)), zeros(1)), /the file only/, 'strides of 0 that repeat an element');
  refused(of(many(16, integer(1 << 30)), zeros(16)), /the file only/, 'the same on 16 axes');
  refused(of(many(16, largest), zeros(16)), /the file only|beyond/, 'sizes whose product is no exact number');
  refused(of(tuple(largest, integer(0)), zeros(2)), /described wrongly/, 'an empty tensor of endless rows');
  const halfMillion = tensor(tuple(integer(5000)), zeros(1));
  const entries = Array.from({ length: 40 }, (_, i) => [text(`w${i}`), halfMillion]).flat();
  refused(pickleOf(dictionary(...entries)), /its tensors have \d+ bytes, the file only/, 'many that repeat');
});

test('lists that the pickle changes after it has described a tensor with them', () => {
  const shape = bytes('](', integer(2), 'e', put(1));
  const strides = bytes('](', integer(1), 'e', put(2));
  const change = (key: number, ...values: Uint8Array[]) => bytes(get(key), '(', ...values, 'e0');
  const described = tensor(shape, strides);
  const pickle = pickleOf(
    dictionary(text('w'), described),
    change(1, float(NaN), text('x'), integer(-1)),
    change(2, float(NaN), text('x'), integer(-1)),
  );
  const found = openTorchFile(write(archive(pickle))).tensors.get('w')!;
  assert.deepEqual(found.shape, [2]);
  assert.deepEqual([...new Float32Array(found.read().buffer)], [1, 2]);
});

test('names: objects’ own, control characters, the same one twice', () => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', ''];
  const pickle = pickleOf(dictionary(...names.flatMap((name) => [text(name), pair])));
  assert.deepEqual([...openTorchFile(write(archive(pickle))).tensors.keys()], names);
  for (const name of ['constructor', '__proto__', 'toString']) {
    refused(pickleOf(storage(text('0'), named('torch', name))), /not supported/, `a storage of ${name}`);
  }
  const both = pickleOf(dictionary(text('w'), pair, text('module.w'), pair));
  refused(both, /tensor w twice/, 'a name with and without module.');
  const shouting = pickleOf(
    dictionary(text('\x1b[2J\x07\x9b31m'), tensor(tuple(integer(9)), tuple(integer(1)))),
  );
  refused(shouting, /beyond its storage/, 'a name that commands the terminal');
  refused(
    pickleOf(dictionary(text('w'), bytes(named('os', '\x1b]0;x\x07'), ')R'))),
    /asks for os/,
    'a class that does',
  );
});

test('the stack and the memo', () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ['nothing', Buffer.alloc(0), /cut off|no list of storages|stack is empty/],
    ['STOP alone', pickleOf(), /stack is empty/],
    ['POP of nothing', pickleOf('0'), /stack is empty/],
    ['a mark that is left', pickleOf('}('), /stack is empty/],
    ['POP of a mark', pickleOf('}(0'), /stack is empty/],
    ['SETITEM on nothing', pickleOf('NN', 's'), /expected a dictionary/],
    ['SETITEMS on a list', pickleOf('](NNu'), /expected a dictionary/],
    ['a key without value', pickleOf('}(Nu'), /no value/],
    ['APPEND to a dictionary', pickleOf('}Na'), /expected a list/],
    ['APPENDS without mark', pickleOf(']e'), /mark is missing/],
    ['memo of nothing', pickleOf('q\x00'), /nothing to remember/],
    ['memo that is empty', pickleOf('h\x07'), /memo 7 is empty/],
    ['memo 2^32 - 1', pickleOf(get(2 ** 32 - 1)), /memo 4294967295 is empty/],
    ['GLOBAL without end', bytes('\x80\x02ctorch\nFloat'), /no end/],
    ['a value that is no dictionary', pickleOf('I'), /opcode 0x49/],
    ['a number', pickleOf('K\x01'), /no tensors/],
    ['a tensor alone', pickleOf(pair), /no tensors/],
    [
      'an odd OrderedDict',
      pickleOf(named('collections', 'OrderedDict'), tuple(text('x')), 'R'),
      /no tensors/,
    ],
    ['an empty LONG1', pickleOf('\x8a\x00'), /no tensors/],
  ];
  for (const [what, pickle, message] of cases) refused(pickle, message, what);
});

test('lists of storages of old files', () => {
  const value = pickleOf(dictionary(text('w'), pair));
  const keys = (...items: Uint8Array[]) => pickleOf('](', ...items, 'e');
  const cases: [string, Buffer, RegExp][] = [
    ...[-1n, -2n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 61n, 2n ** 63n - 1n, -(2n ** 63n), 3n].map(
      (count): [string, Buffer, RegExp] => [
        `${count} elements`,
        legacy(value, keys(text('0')), bytes(uint64(BigInt.asUintN(64, count)), Buffer.alloc(8))),
        /cut off within/,
      ],
    ),
    ['1 element', legacy(value, keys(text('0')), bytes(uint64(1n), Buffer.alloc(8))), /beyond its storage/],
    ['no list', legacy(value, pickleOf('N')), /no list of storages/],
    ['no storage', legacy(value, keys()), /storage 0 is missing/],
    ['another storage', legacy(value, keys(text('1'))), /does not fit/],
    ['the same storage twice', legacy(value, keys(text('0'), text('0'))), /does not fit/],
    ['a key that is no text', legacy(value, keys(integer(0))), /does not fit/],
    [
      'another magic number',
      legacy(value, undefined, undefined, { magic: pickleOf('\x8a\x0a\x6c\xfc\x9c\x46', Buffer.alloc(6)) }),
      /no file of torch\.save/,
    ],
    [
      'another protocol',
      legacy(value, undefined, undefined, { protocol: pickleOf('M\xea\x03') }),
      /no file of torch\.save/,
    ],
    [
      'a big-endian machine',
      legacy(value, undefined, undefined, {
        system: pickleOf(dictionary(text('little_endian'), bytes('\x89'))),
      }),
      /big-endian/,
    ],
    [
      'a view of a storage',
      legacy(
        pickleOf(
          tuple(
            text('storage'),
            named('torch', 'FloatStorage'),
            text('0'),
            text('cpu'),
            integer(2),
            tuple(text('1')),
          ),
          'Q',
        ),
      ),
      /view of another/,
    ],
    [
      'a storage of two types',
      legacy(
        pickleOf(
          dictionary(
            ...[text('a'), pair, text('b')],
            tensor(tuple(), tuple(), integer(0), storage(text('0'), named('torch', 'HalfStorage'))),
          ),
        ),
      ),
      /storage 0 is/,
    ],
    [
      'operations over several pickles',
      legacy(value, undefined, undefined, { system: pickleOf(repeat(499_990, 'N')) }),
      /operations/,
    ],
  ];
  for (const [what, content, message] of cases) {
    const path = write(content);
    assertRefused(() => readAllOf(path), path, message, what);
  }
});
