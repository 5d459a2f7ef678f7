import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Help } from 'commander';
import { classifyCommand } from '../src/cli/classify.js';
import { commands } from '../src/cli/commands.js';
import { addHelp, helpSettings } from '../src/cli/help.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { writeSafetensors } from '../src/io/safetensors.js';
import { loadModelConfig } from '../src/model/config.js';
import { initializeParameter, parameterSpecs } from '../src/model/parameters.js';
import { runCli } from './runCli.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-cli-'));
const data = join(folder, 'data');
let runs = 0;

before(async () => {
  cpSync(join(packageRoot, 'tests', 'fixtures', 'dataset'), data, { recursive: true });
  const out = join(data, 'vocab.txt');
  const built = await runCli(['data', 'build-vocab', '--data', data, '--out', out, '--max-size', '300']);
  assert.equal(built.code, 0, built.stderr);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const stage = '{ epochs: 1, batchSize: 32, learningRate: 0.001, warmupSteps: 2 }';

/** Runs pretrain on a YAML file with these lines, into a new folder. */
function pretrain(lines: string[], ...flags: string[]) {
  const config = join(folder, `config${runs++}.yaml`);
  writeFileSync(config, `${lines.join('\n')}\n`);
  return { config, result: runCli(['pretrain', '--config', config, ...flags]) };
}

const settings = (changes: Record<string, string | undefined> = {}) => {
  const all = {
    model: 'tiny',
    data,
    output: join(folder, `run${runs}`),
    stage1: stage,
    stage2: stage,
    ...changes,
  };
  return Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
};

/** Asserts one clear message, exit code 1 and no stack trace. */
async function assertComplaint(result: ReturnType<typeof runCli>, ...patterns: RegExp[]): Promise<void> {
  const { code, stderr } = await result;
  assert.equal(code, 1, stderr);
  for (const pattern of patterns) assert.match(stderr, pattern);
  assert.doesNotMatch(stderr, /\n\s+at /, 'a stack trace without --debug');
  assert.doesNotMatch(stderr, /unexpected/);
}

test('the list of commands shows each as its own help does', async () => {
  const { stdout } = await runCli(['--help']);
  for (const { name, usage, description, make } of commands) {
    const term = new Help().subcommandTerm(await make());
    assert.equal(term, `${name} ${usage}`.trimEnd());
    const line = stdout.split('\n').find((shown) => shown.startsWith(`  ${term} `));
    assert.ok(line?.endsWith(` ${description}`), `${term}: ${line}`);
  }
});

test('help fits a terminal of 80 columns, and is a line a setting elsewhere', async () => {
  const command = addHelp(classifyCommand());
  const help = Object.assign(new Help(), helpSettings, { helpWidth: 80 });
  const lines = help.formatHelp(command, help).split('\n');
  const long = lines.filter((line) => line.length > 80);
  assert.ok(
    long.every((line) => /^ {2}--\S+ <\S+>$/.test(line)),
    long.join('\n'),
  );
  assert.ok(lines.includes(`${' '.repeat(40)}GPU of cuda and tensorrt, counted from 0`));
  const { stdout } = await runCli(['classify', '--help']);
  assert.match(stdout, /^ {2}--provider-options\.device-id <number> {2}GPU of cuda and tensorrt, counted/m);
  assert.match(stdout, /^ {2}--debug +print stack traces$/m);
  const { stderr } = await runCli(['data', 'convert', '--nonsense']);
  assert.match(stderr, /unknown option '--nonsense'\n\(cn-clip --help lists the commands/);
});

test('help gives defaults as the flags take them', async () => {
  for (const { make } of commands) {
    assert.doesNotMatch((await make()).helpInformation(), /\(default: [[{]|\[object/);
  }
  const { stdout } = await runCli(['benchmark', '--help']);
  assert.match(stdout, /--batch-sizes <value> .*\(default: 1,8,32\)$/m);
});

test('the list of commands is told without loading what they run', async () => {
  const tell = "process.on('exit', () => console.error(process.report.getReport().sharedObjects.join()))";
  const main = join(packageRoot, 'bin', 'cn-clip.js');
  const { stderr } = await promisify(execFile)(process.execPath, [
    ...['--import', `data:text/javascript,${encodeURIComponent(tell)}`],
    ...[main, '--help'],
  ]);
  assert.match(stderr, /libc/);
  assert.doesNotMatch(stderr, /onnxruntime|sharp/);
});

test('a missing setting is named with the file, and with the line of what should hold it', async () => {
  const { config, result } = pretrain(settings({ stage2: '{ epochs: 1, batchSize: 32 }' }));
  await assertComplaint(result, new RegExp(`${config}:5: stage2\\.learningRate`));
});

test('an unknown setting and a value of the wrong kind are named with file and line', async () => {
  const { config, result } = pretrain([...settings({ seed: 'lots' }), 'learnRate: 1']);
  await assertComplaint(result, new RegExp(`${config}:6: seed: .*number`), /learnRate/);
});

test('an unknown engine names those there are', async () => {
  await assertComplaint(pretrain(settings(), '--engine', 'torch').result, /--engine/, /onnx/, /tfjs/, /auto/);
});

test('a provider that is not there is an error, not a silent run on the CPU', async () => {
  await assertComplaint(pretrain(settings(), '--provider', 'cuda').result, /cuda/);
});

test('a broken YAML file is named with its line', async () => {
  const { config, result } = pretrain(['model: tiny', 'data: [unclosed', 'output: x']);
  await assertComplaint(result, new RegExp(`${config}:\\d: not valid YAML`));
});

test('a data folder without the split says what is there', async () => {
  await assertComplaint(pretrain(settings(), '--split', 'dev').result, /dev/, /train/, /valid/);
});

/** A copy of the data with one file changed. */
function damaged(name: string, change: (text: string) => string): string {
  const copy = join(folder, `damaged${runs++}`);
  cpSync(data, copy, { recursive: true });
  writeFileSync(join(copy, name), change(readFileSync(join(copy, name), 'utf8')));
  return copy;
}

test('a truncated tsv line is named with file and line', async () => {
  const copy = damaged('train_imgs.tsv', (text) => {
    const lines = text.split('\n');
    lines[6] = lines[6].split('\t')[0];
    return lines.join('\n');
  });
  await assertComplaint(pretrain(settings({ data: copy })).result, /train_imgs\.tsv.*7/);
});

test('a broken picture is named with file, line and image id, skipped or as an error', async () => {
  const copy = damaged('train_imgs.tsv', (text) => {
    const lines = text.split('\n');
    const [id, image] = lines[3].split('\t');
    lines[3] = `${id}\t${image.slice(0, 40)}`;
    return lines.join('\n');
  });
  const id = readFileSync(join(copy, 'train_imgs.tsv'), 'utf8').split('\n')[3].split('\t')[0];
  const named = new RegExp(`train_imgs\\.tsv, line 4, image ${id}: `);
  const output = join(folder, 'skipping');
  const skipping = await pretrain(settings({ data: copy, output })).result;
  assert.equal(skipping.code, 0, skipping.stderr);
  assert.match(skipping.stdout, named);
  assert.match(skipping.stdout, /stage 2 did without 1 broken pictures/);
  const metrics = readFileSync(join(output, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  assert.ok(metrics.some((line) => (JSON.parse(line) as { replacedPairs: number }).replacedPairs > 0));
  await assertComplaint(pretrain(settings({ data: copy }), '--max-broken-rate', '0').result, named);
});

test('weights of the wrong shape name the tensor and both shapes, and no run folder is left behind', async () => {
  const weights = join(folder, 'wrong.safetensors');
  const specs = parameterSpecs({ ...loadModelConfig('tiny'), embed_dim: 16 });
  writeSafetensors(
    weights,
    new Map(specs.map((spec) => [spec.name, { shape: spec.shape, data: initializeParameter(spec, 0) }])),
  );
  const output = join(folder, 'never');
  const { result } = pretrain(settings({ weights, output }));
  await assertComplaint(result, /text_projection/, /\[32,16\]/, /\[32,32\]/);
  assert.ok(!existsSync(join(output, 'checkpoints', 'stage1-step00000001')));
});

test('eval-retrieval says what it needs, and evaluates a checkpoint', async () => {
  await assertComplaint(runCli(['eval-retrieval', '--model', folder]), /--data/);
  const output = join(folder, 'evaluated');
  const trained = await pretrain(settings({ output })).result;
  assert.equal(trained.code, 0, trained.stderr);
  const result = await runCli([
    ...['eval-retrieval', '--model', join(output, 'model'), '--data', data, '--split', 'valid'],
    ...['--out', join(output, 'eval')],
  ]);
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, /text→image\s+\d/);
  const lines = readFileSync(join(output, 'eval', 't2i_predictions.jsonl'), 'utf8')
    .trim()
    .split('\n');
  assert.ok(lines.every((line) => JSON.parse(line).image_ids.length === 10));
});

test('folders that hold something else are left alone', async () => {
  const output = join(folder, 'mine');
  mkdirSync(join(output, 'data'), { recursive: true });
  writeFileSync(join(output, 'data', 'precious.txt'), 'mine');
  await assertComplaint(runCli(['quickstart', '--output', output]), /not empty/);
  await assertComplaint(runCli(['data', 'emoji', '--out', join(output, 'data')]), /not empty/);
  await assertComplaint(pretrain(settings({ output: join(output, 'data') })).result, /holds no run/);
  assert.deepEqual(readdirSync(join(output, 'data')), ['precious.txt']);
});

test('a vocabulary or context that is larger than the model is refused before anything is computed', async () => {
  const { result } = pretrain(settings(), '--context-length', '100');
  await assertComplaint(result, /contextLength 100 exceeds the model's 64 positions/);
});

test('a run in which nothing would be trained says so', async () => {
  const none = stage.replace('epochs: 1', 'epochs: 0');
  await assertComplaint(pretrain(settings({ stage1: none, stage2: none })).result, /nothing to train/);
});

test('without a config, what is missing is named by its flags', async () => {
  await assertComplaint(
    runCli(['pretrain', '--model', 'tiny']),
    /--data/,
    /--stage1\.epochs/,
    /--stage2\.batch-size/,
  );
});

test('a reader that ends early ends the command without a stack trace', async () => {
  const { stderr } = await runCli(['pretrain', '--help'], (child) => child.stdout?.destroy());
  assert.equal(stderr, '');
});

test('help lists the commands, and every setting with its default', async () => {
  const { stdout } = await runCli(['--help']);
  for (const command of ['quickstart', 'pretrain', 'eval-retrieval', 'data'])
    assert.match(stdout, new RegExp(command));
  const help = await runCli(['pretrain', '--help']);
  assert.match(help.stdout, /--stage1\.learning-rate/);
  assert.match(help.stdout, /--context-length <number>.*\(default: 52\)/);
});
