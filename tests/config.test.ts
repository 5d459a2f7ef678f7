import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Command } from 'commander';
import { z } from 'zod';
import { addSettings, resolveSettings } from '../src/config/options.js';
import { pretrainSchema } from '../src/config/pretrain.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();

const schema = z.strictObject({
  model: z.string().describe('a name'),
  seed: z.number().int().min(0).default(0).describe('of everything'),
  engine: z.enum(['onnx', 'tfjs']).default('onnx').describe('what computes'),
  note: z.string().optional().describe('anything'),
  stage1: z
    .strictObject({
      epochs: z.number().int().describe('passes'),
      learningRate: z.number().positive().default(0.5).describe('peak'),
      dropout: z.boolean().default(true).describe('of the text'),
    })
    .describe('the first'),
});

function yaml(text: string): string {
  const path = join(folder, 'settings.yaml');
  writeFileSync(path, text);
  return path;
}

/** What commander makes of a command line. */
function parseFlags(...words: string[]): Record<string, unknown> {
  const command = addSettings(new Command().exitOverride(), schema);
  return command.parse(words, { from: 'user' }).opts();
}

const refuses = (text: string, message: RegExp, ...flags: string[]) =>
  assert.throws(() => resolveSettings(schema, yaml(text), parseFlags(...flags)), {
    name: 'UserError',
    message,
  });

const complete = 'model: tiny\nstage1:\n  epochs: 3\n';

test('flags override the file, which overrides the defaults', () => {
  assert.deepEqual(resolveSettings(schema, yaml(complete), {}), {
    model: 'tiny',
    seed: 0,
    engine: 'onnx',
    stage1: { epochs: 3, learningRate: 0.5, dropout: true },
  });
  const flags = parseFlags(
    ...['--seed', '7', '--stage1.learning-rate', '2e-3', '--stage1.dropout', 'false', '--note', '12'],
  );
  assert.deepEqual(resolveSettings(schema, yaml(`${complete}  learningRate: 1\nseed: 5\n`), flags), {
    model: 'tiny',
    seed: 7,
    engine: 'onnx',
    note: '12',
    stage1: { epochs: 3, learningRate: 0.002, dropout: false },
  });
  // No file: everything by flags. A boolean without a value is true.
  const alone = parseFlags('--model', 'tiny', '--stage1.epochs', '2', '--stage1.dropout');
  assert.deepEqual(resolveSettings(schema, undefined, alone).stage1, {
    epochs: 2,
    learningRate: 0.5,
    dropout: true,
  });
});

test('what is wrong in the file is told with file and line', () => {
  refuses('model: tiny\n\nstage1:\n  epochs: many\n', /settings\.yaml:4: stage1\.epochs: expected number/);
  refuses('model: tiny\nstage1:\n  epochs: 1.5\n', /settings\.yaml:3: stage1\.epochs: .*int/);
  refuses(`seed: -1\n${complete}`, /settings\.yaml:1: seed: .*>=0/);
  refuses(`${complete}engine: torch\n`, /settings\.yaml:4: engine: expected one of "onnx"\|"tfjs"/);
  refuses(`${complete}sead: 4\n`, /settings\.yaml:4: sead: there is no such setting/);
  refuses(`${complete}  momentum: 4\n`, /settings\.yaml:4: stage1\.momentum: there is no such setting/);
  refuses('\nmodel: tiny\nstage1: {}\n', /settings\.yaml:3: stage1\.epochs: is missing, expected number/);
  refuses('model: tiny\nstage1: 4\n', /settings\.yaml:2: stage1: expected object/);
  refuses('model: tiny\n', /settings\.yaml:1: stage1\.epochs: is missing, expected number/);
  refuses('seed: -1\nmodel: 3\nstage1: {epochs: 1}\n', /:2: model: expected string.*\n.*:1: seed: /);
});

test('what is wrong in a flag is told with the flag', () => {
  refuses(
    complete,
    /--stage1\.learning-rate: expected number, received string/,
    '--stage1.learning-rate',
    'fast',
  );
  refuses(complete, /--stage1\.dropout: expected boolean/, '--stage1.dropout', 'maybe');
  refuses(complete, /--engine: expected one of "onnx"\|"tfjs"/, '--engine', 'torch');
  const missing = () => resolveSettings(schema, undefined, parseFlags('--model', 'tiny', '--seed', '1'));
  assert.throws(missing, {
    name: 'UserError',
    message: /stage1\.epochs: is missing, expected number \(flag --stage1\.epochs\)/,
  });
});

test('a file that is no settings file is refused', () => {
  refuses('model: [tiny\nseed: 3', /settings\.yaml:\d: not valid YAML/);
  refuses('model: tiny\nmodel: small\n', /settings\.yaml:2: not valid YAML: .*unique/);
  refuses('- model\n', /settings\.yaml:1: expected settings as 'name: value' lines/);
  refuses('', /settings\.yaml:1: expected settings/);
  // Nine levels of ten aliases each: a thousand million strings, if they were resolved.
  const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i}, `.repeat(10)}]\n`);
  refuses(`l0: &l0 boom\n${levels.join('')}`, /settings\.yaml: not valid YAML: Excessive alias count/);
  assert.throws(() => resolveSettings(schema, join(folder, 'none.yaml'), {}), {
    name: 'UserError',
    message: /none\.yaml can't be read/,
  });
});

test('every setting of pretrain is a flag with a description', () => {
  const { options } = addSettings(new Command(), pretrainSchema);
  const adapters = 4; // lora.rank, alpha, targets and heads in the place of lora
  const stages = (Object.keys(pretrainSchema.shape.stage1.shape).length - 1 + adapters) * 2;
  const towers = 2; // init.vision and init.text
  const provider = Object.keys(pretrainSchema.shape.providerOptions.unwrap().shape).length;
  assert.equal(options.length, Object.keys(pretrainSchema.shape).length - 4 + stages + towers + provider);
  for (const { long, description } of options)
    assert.match(description, /^\S.{5}/, `${long} has no description`);
});

test('the pretraining configs of the package are valid', () => {
  const path = join(packageRoot, 'configs', 'pretrain', 'emoji.yaml');
  const { stage1, stage2 } = resolveSettings(pretrainSchema, path, {});
  assert.ok(stage1.epochs > 0 && stage2.epochs > 0);
});
