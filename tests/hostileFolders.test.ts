import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type ConvertOptions, convertCheckpoint } from '../src/checkpoint/convert.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { UserError } from '../src/errors.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import { tensorOf } from '../src/io/tensor.js';
import { loadModel } from '../src/model/load.js';
import { assertRefused, deep, readAllOf, safetensors, scratch } from './hostile.js';
import { fixture, readJson } from './support.js';
import { archive, named, pickleOf } from './torchBytes.js';

const { folder } = scratch();
const good = safetensors({ w: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, 8);

function refused(path: string, message: RegExp, what: string, named = path): void {
  assertRefused(() => readAllOf(path), named, message, what);
}

/** A folder with these files. */
function folderOf(files: Record<string, Uint8Array | string>): string {
  const made = mkdtempSync(join(folder, 'given-'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(made, name), content);
  return made;
}

test('the index of shards', () => {
  const index = (content: unknown, files: Record<string, Uint8Array> = {}) => {
    const json = typeof content === 'string' ? content : JSON.stringify(content);
    const made = folderOf({ 'model.safetensors.index.json': json, 'x.safetensors': good, ...files });
    return join(made, 'model.safetensors.index.json');
  };
  const outside = [
    '../x.safetensors',
    '/etc/passwd',
    '/tmp/x.safetensors',
    '..\\x.safetensors',
    'C:\\x.bin',
    'a/x.bin',
  ];
  const odd = [
    '..',
    '.',
    '',
    'x.index.json',
    'x.safetensors/',
    'x.safetensors\0',
    '__proto__',
    `${'x'.repeat(1 << 20)}.bin`,
  ];
  for (const name of [...outside, ...odd]) {
    const path = index({ weight_map: { w: name } });
    refused(path, /is no file of weights beside it/, JSON.stringify(name.slice(0, 40)));
  }
  const shards = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`w${i}`, `${i}.bin`]));
  const cases: [string, unknown, RegExp][] = [
    ['100,000 shards', { weight_map: shards }, /names 100000 files/],
    ['a shard that is not there', { weight_map: { w: 'y.safetensors' } }, /can't be opened/],
    ['a name that no file system has', { weight_map: { w: `${'y'.repeat(251)}.bin` } }, /can't be opened/],
    ['a tensor that is not in its shard', { weight_map: { v: 'x.safetensors' } }, /"v" is not in x/],
    [
      'a tensor with a name of 1 MB',
      { weight_map: { ['v'.repeat(1 << 20)]: 'x.safetensors' } },
      /is not in x/,
    ],
    ['a number', 7, /no index/],
    ['null', 'null', /no index/],
    ['a list', [], /no index/],
    ['no map', { metadata: {} }, /no index/],
    ['a map that is a list', { weight_map: ['x.safetensors'] }, /no index/],
    ['a file that is a number', { weight_map: { w: 7 } }, /no index/],
    ['no JSON', '{"weight_map": {', /damaged/],
    ['100,000 levels', deep(100_000), /more than 64 deep/],
    ['5 MB', ' '.repeat(5 << 20), /at most/],
  ];
  for (const [what, content, message] of cases) {
    const path = index(content);
    refused(path, message, what, dirname(path));
  }
  // An index under the name of a shard of its own.
  const own = JSON.stringify({ weight_map: { w: 'y.bin' } });
  refused(
    index(own, { 'y.bin': Buffer.from(own) }),
    /y\.bin holds no weights: it is neither/,
    'an index as a shard',
    'y.bin',
  );
});

/** What JSON files can hold that no reader here expects, by what it is. */
const oddContents: [string, string | Uint8Array, RegExp][] = [
  ['a number', '7', /./],
  ['null', 'null', /./],
  ['text', '"x"', /./],
  ['a list', '[1, 2]', /./],
  ['true', 'true', /./],
  ['nothing', '', /damaged|neither JSON/],
  ['half an object', '{"format": 1', /damaged|neither JSON/],
  ['no UTF-8', Buffer.of(0x22, 0xff, 0x22), /damaged|neither JSON/],
  ['100,000 levels', deep(100_000), /more than 64 deep/],
  ['100,000 levels of objects', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, /more than 64 deep/],
  ['2 MB', `${' '.repeat(2 << 20)}{}`, /2097154 bytes/],
  ['a command for the terminal', '{"\x1b[2J', /damaged|neither JSON/],
];

test('cn-clip.json and state.json of a checkpoint directory', () => {
  const versions = [
    ['format 2', '{"format": 2}', /format 2 is not known/],
    ['format of text', `{"format": "${'x'.repeat(1 << 19)}"}`, /is not known/],
    ['format of lists', `{"format": ${deep(60)}}`, /is not known/],
    ['format of its own', '{"__proto__": {"format": 1}}', /format undefined/],
  ] as const;
  for (const [what, content, message] of [...oddContents, ...versions]) {
    const made = folderOf({ 'model.safetensors': good, 'cn-clip.json': content });
    refused(made, message, `cn-clip.json: ${what}`);
  }
  const factors = '"learningRate": 0, "weightDecay": 0, "beta1": 0, "beta2": 0, "epsilon": 0';
  const states = [
    ['an epoch of 2^53', '{"epoch": 9007199254740992, "step": 1}', /epoch/],
    ['a negative step', '{"epoch": 1, "step": -1}', /step/],
    ['a step of 1e999', '{"epoch": 1, "step": 1e999}', /step/],
    ['a name of lists', `{"epoch": 1, "step": 1, "name": ${deep(50)}}`, /name/],
    ['an optimizer of lists', `{"epoch": 1, "step": 1, "optimizer": ${deep(50)}}`, /optimizer/],
    [
      'an infinite rate',
      `{"epoch": 1, "step": 1, "optimizer": {"step": 1, ${factors.replace('0', '1e999')}}}`,
      /learningRate/,
    ],
    [
      'no moments',
      `{"epoch": 1, "step": 1, "optimizer": {"step": 1, ${factors}}}`,
      /optimizer\.safetensors.*can't be opened/,
    ],
  ] as const;
  for (const [what, content, message] of [...oddContents, ...states]) {
    const made = folderOf({ 'model.safetensors': good, 'state.json': content });
    refused(made, message, `state.json: ${what}`);
  }
  const second = { 'w.exp_avg': { dtype: 'F32', shape: [2], data_offsets: [0, 8] } };
  const state = `{"epoch": 1, "step": 1, "optimizer": {"step": 1, ${factors}}}`;
  const half = {
    'model.safetensors': good,
    'state.json': state,
    'optimizer.safetensors': safetensors(second, 8),
  };
  refused(folderOf(half), /'w\.exp_avg_sq' is missing/, 'half of the moments');
});

test('config.json, ours and Hugging Face’s', async () => {
  const config = (content: string | Uint8Array, what: string, message: RegExp) => {
    const made = folderOf({ 'model.safetensors': good, 'config.json': content });
    assertRefused(
      () => openCheckpoint(made).config(),
      join(made, 'config.json'),
      message,
      `config.json: ${what}`,
    );
  };
  for (const [what, content, message] of oddContents) config(content, what, message);
  const ours = readJson<Record<string, unknown>>(fixture('golden', 'vit', 'config.json'));
  const text = { model_type: 'chinese_clip_text_model' };
  const theirs = { model_type: 'chinese_clip', text_config: text, vision_config: {} };
  const odd = [
    2 ** 53,
    2 ** 53 - 1,
    1e308,
    2 ** 31,
    -1,
    0,
    0.5,
    null,
    '1',
    'x'.repeat(1 << 18),
    [],
    {},
    true,
  ];
  for (const key of Object.keys(ours)) {
    for (const value of odd) {
      if (key.endsWith('prob') && (value === 0 || value === 0.5)) continue;
      if (key === 'text_initializer_range' && typeof value === 'number' && value > 0) continue;
      if (key === 'vision_patch_size' && value === null) continue;
      config(
        JSON.stringify({ ...ours, [key]: value }),
        `${key} ${String(value).slice(0, 20)}`,
        new RegExp(key),
      );
    }
  }
  const sizes = ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size'];
  for (const tower of ['text_config', 'vision_config'] as const) {
    for (const key of sizes) {
      for (const value of odd) {
        const content = { ...theirs, [tower]: { ...theirs[tower], [key]: value } };
        config(JSON.stringify(content), `${tower}.${key} ${String(value).slice(0, 20)}`, /./);
      }
    }
  }
  const wrong: [string, unknown, RegExp][] = [
    ['another model', { ...theirs, model_type: 'clip' }, /model_type/],
    ['a model of lists', `{"model_type": ${deep(60)}}`, /model_type/],
    ['towers that are lists', { ...theirs, text_config: [], vision_config: [] }, /text_config/],
    ['towers that are text', { ...theirs, text_config: 'x', vision_config: 'x' }, /text_config/],
    [
      'all of a wrong kind',
      {
        ...theirs,
        projection_dim: [],
        text_config: Object.fromEntries(sizes.map((key) => [key, 'x'])),
        vision_config: Object.fromEntries(sizes.map((key) => [key, 'x'])),
      },
      /projection_dim/,
    ],
    ['a long unknown setting', { ...ours, ['x'.repeat(1 << 19)]: 1 }, /no such setting/],
    [
      '30,000 unknown settings',
      { ...ours, ...Object.fromEntries(Array.from({ length: 30_000 }, (_, i) => [`x${i}`, 1])) },
      /no such setting/,
    ],
    ['an image of 2^24 pixels', { ...ours, image_resolution: 2 ** 24 }, /image_resolution/],
    [
      'stages of a ResNet that are endless',
      { ...ours, vision_layers: [1, 1, 1, 2 ** 40], vision_patch_size: null },
      /vision_layers/,
    ],
  ];
  for (const [what, content, message] of wrong) {
    config(typeof content === 'string' ? content : JSON.stringify(content), what, message);
  }
  // Sizes that are allowed and that the weights do not have: refused before anything of that size exists.
  const largest = {
    ...ours,
    vision_layers: 1000,
    text_num_hidden_layers: 1000,
    vocab_size: 2 ** 24,
    embed_dim: 2 ** 24,
  };
  const made = folderOf({ 'model.safetensors': good, 'config.json': JSON.stringify(largest) });
  await assert.rejects(
    loadModel(made),
    (error) => error instanceof UserError && /is missing/.test(error.message),
  );
});

test('what is no file in the place of one', () => {
  for (const name of ['config.json', 'cn-clip.json', 'state.json', 'model.safetensors.index.json']) {
    const made = folderOf(name.startsWith('model') ? {} : { 'model.safetensors': good });
    mkdirSync(join(made, name));
    const read = () => {
      readAllOf(made);
      openCheckpoint(made).config();
    };
    assertRefused(read, made, /not a regular file/, `${name} is a folder`);
    const pipes = folderOf(name.startsWith('model') ? {} : { 'model.safetensors': good });
    // Opening a pipe would wait for its writer. (Windows has none.)
    if (spawnSync('mkfifo', [join(pipes, name)]).status !== 0) continue;
    const readPipe = () => {
      readAllOf(pipes);
      openCheckpoint(pipes).config();
    };
    assertRefused(readPipe, pipes, /not a regular file/, `${name} is a pipe`);
  }
});

test('Hugging Face tensors of odd shapes', () => {
  const theirs = 'text_model.embeddings.word_embeddings.weight';
  const tensor = (shape: number[]) => ({ dtype: 'F32', shape, data_offsets: [0, 0] });
  const withTensors = (tensors: Record<string, unknown>) =>
    folderOf({ 'model.safetensors': safetensors({ [theirs]: tensor([0]), ...tensors }) });
  // Loops over rows that have no columns would not end.
  readAllOf(withTensors({ 'visual_projection.weight': tensor([2 ** 40, 0]) }));
  readAllOf(
    withTensors({ 'visual_projection.weight': tensor([0, 0, 0]), 'text_projection.weight': tensor([0]) }),
  );
  const layer = 'vision_model.encoder.layers.0.self_attn';
  const attention = (...shapes: number[][]) =>
    Object.fromEntries(['q', 'k', 'v'].map((part, i) => [`${layer}.${part}_proj.weight`, tensor(shapes[i])]));
  readAllOf(withTensors(attention([2 ** 40, 0], [2 ** 40, 0], [2 ** 40, 0])));
  const ranks = Array.from({ length: 16 }, () => 0);
  refused(withTensors(attention([0], [1, 0], ranks)), /must be alike/, 'ranks that differ');
  refused(withTensors({ [`${layer}.q_proj.weight`]: tensor([0]) }), /k_proj\.weight' is missing/, 'no keys');
});

test('converting a hostile checkpoint leaves nothing behind', () => {
  // It opens, and fails when its turn to be read comes: the second tensor has more bytes than memory.
  const entries = { a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } };
  const huge = { ...entries, b: { dtype: 'U8', shape: [2 ** 42], data_offsets: [8, 8 + 2 ** 42] } };
  const holes = join(folderOf({ 'x.safetensors': safetensors(huge) }), 'x.safetensors');
  truncateSync(holes, readFileSync(holes).length + 8 + 2 ** 42);
  const hostile = join(folderOf({ 'x.pt': archive(pickleOf(named('os', 'system'), ')R')) }), 'x.pt');
  // All parameters are there, one of them beyond half precision.
  const golden = openCheckpoint(fixture('golden', 'vit', 'init.safetensors'));
  const weights = new Map(golden.tensors);
  const { shape } = weights.get('logit_scale')!;
  weights.set('logit_scale', tensorOf(shape, Float32Array.of(1e30)));
  const unfit = folderOf({ 'config.json': readFileSync(fixture('golden', 'vit', 'config.json')) });
  writeSafetensors(join(unfit, 'model.safetensors'), weights);
  const cases: [string, string, ConvertOptions['to'], RegExp][] = [
    [holes, 'out.pt', 'pt', /more than fit/],
    [holes, 'out.safetensors', 'safetensors', /more than fit/],
    [holes, 'out', 'safetensors', /config can't be inferred/],
    [holes, 'out', 'huggingface', /config can't be inferred/],
    [hostile, 'out.pt', 'pt', /os\.system/],
    [hostile, 'out', 'huggingface', /os\.system/],
    [unfit, 'out.pt', 'pt', /too large for half/],
    [unfit, 'out.safetensors', 'safetensors', /too large for half/],
    [unfit, 'out', 'safetensors', /too large for half/],
    [unfit, 'out', 'huggingface', /too large for half/],
  ];
  for (const [from, name, to, message] of cases) {
    const place = mkdtempSync(join(folder, 'out-'));
    const convert = () => convertCheckpoint(from, join(place, name), { to, dtype: 'float16' });
    assertRefused(convert, from, message, `${from} to ${to}`);
    assert.deepEqual(readdirSync(place), []);
  }
});
