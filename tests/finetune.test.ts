import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { finetuneSchema } from '../src/config/finetune.js';
import { readJsonLines } from '../src/io/jsonl.js';
import type { Reporter } from '../src/io/terminal.js';
import { prepareText } from '../src/text/tokenizer.js';
import { buildVocabulary } from '../src/text/vocabulary.js';
import { bestOf, scoreOf } from '../src/train/bestMetric.js';
import { finetune as finetuneInProcess } from '../src/train/finetune.js';
import { RunDirectory } from '../src/train/runDirectory.js';
import { type CliResult, runCli } from './runCli.js';
import { assertSameTensors, fixture, onnx, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();
const data = join(folder, 'data');
const base = join(folder, 'base');
const totalSteps = 2 * 17;
const quiet: Reporter = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };

cpSync(fixture('dataset'), data, { recursive: true });
const captions = [...readJsonLines(join(data, 'train_texts.jsonl'))].map(({ value }) => String(value.text));
const vocabulary = buildVocabulary(captions.map(prepareText), { maxSize: 300, minFrequency: 1 });
const model = tinyModel(onnx);
writeCheckpoint(base, { weights: model.tensors, config: model.config, vocabulary });

const finetune = (output: string, ...more: string[]) => [
  'finetune',
  ...['--model', base, '--data', data, '--output', output, '--epochs', '2', '--batch-size', '32'],
  ...['--learning-rate', '0.001', '--warmup-steps', '5', '--valid-batch-size', '16'],
  ...['--valid-every-steps', '5', '--save-every-steps', '4', ...more],
];

async function run(output: string, ...more: string[]): Promise<CliResult> {
  const result = await runCli(finetune(output, ...more));
  assert.equal(result.code, 0, result.stderr);
  return result;
}

let uninterrupted: Promise<{ output: string; stdout: string }> | undefined;

/** A run from start to end that nothing disturbed. */
function reference(): Promise<{ output: string; stdout: string }> {
  uninterrupted ??= (async () => {
    const output = join(folder, 'uninterrupted');
    const { stdout } = await run(output);
    return { output, stdout };
  })();
  return uninterrupted;
}

const weightsOf = (path: string) => readFileSync(join(path, 'model.safetensors'));
const validationsOf = (output: string) =>
  new RunDirectory(output).readValidations('valid').map(({ seconds: _, ...record }) => record);

test('a model is finetuned from its own config and vocabulary, validated by steps and epochs', async () => {
  const { output, stdout } = await reference();
  const directory = new RunDirectory(output);
  const records = directory.readValidations('valid');
  assert.deepEqual(
    records.map(({ step, epoch }) => [step, epoch]),
    [0, 5, 10, 15, 17, 20, 25, 30, 34].map((step) => [step, Math.ceil(step / 17)]),
  );
  assert.equal(directory.readMetrics().length, totalSteps);
  assert.match(
    stdout,
    /Validation Result \(epoch 1 @ 15 steps\) \| Valid Loss: \d+\.\d{6} \| Image2Text Acc: /,
  );
  assert.match(stdout, /\nbefore +0 .*\nbest +\d+ .*\nafter +34 /);
  // What was validated after the last step is what the finished model gives to the evaluation command.
  const evaluated = await runCli([
    ...['eval-retrieval', '--model', directory.model, '--data', data, '--split', 'valid'],
    ...['--out', join(folder, 'scores')],
  ]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  const last = records.at(-1)!;
  for (const { recallAt1, recallAt5, recallAt10 } of [last.textToImage, last.imageToText]) {
    const cells = [recallAt1, recallAt5, recallAt10].map((value) => value.toFixed(2).replace('.', '\\.'));
    assert.match(evaluated.stdout, new RegExp(cells.join('\\s+')));
  }
});

test('best/ holds the weights of the best validation', async () => {
  const { output } = await reference();
  const directory = new RunDirectory(output);
  const best = bestOf(directory.readValidations('valid'), 'meanRecall')!;
  assert.ok(
    directory
      .readValidations('valid')
      .every((record) => record.step === 0 || scoreOf(record, 'meanRecall') <= scoreOf(best, 'meanRecall')),
  );
  assert.equal(openCheckpoint(directory.best).training()?.step, best.step);
  const again = join(folder, 'until-best');
  // The schedule stays that of the whole run.
  await run(
    again,
    '--max-steps',
    String(totalSteps),
    '--save-every-steps',
    String(best.step),
    '--keep-checkpoints',
    '99',
  );
  const saved = join(new RunDirectory(again).checkpoints, `stage1-step${String(best.step).padStart(8, '0')}`);
  assert.ok(weightsOf(saved).equals(weightsOf(directory.best)));
});

test('killed again and again, a run ends with the same weights, validations and best checkpoint', async () => {
  const { output: expected } = await reference();
  const output = join(folder, 'killed');
  const directory = new RunDirectory(output);
  let kills = 0;
  let result: CliResult | undefined;
  // Killed at a line of the log: once amid steps, in the middle of a validation, right after one, at a checkpoint.
  for (const [pattern, count] of [
    [/Global Steps/g, 6],
    [/image features/g, 3],
    [/Validation Result/g, 2],
    [/mean recall/g, 2],
  ] as const) {
    const before = directory.latest()?.position.step ?? 0;
    let seen = '';
    result = await runCli(finetune(output, '--log-every-steps', '1'), (child) => {
      child.stdout?.on('data', (chunk) => {
        seen += String(chunk);
        if ((seen.match(pattern)?.length ?? 0) >= count) child.kill('SIGKILL');
      });
    });
    if (result.signal !== 'SIGKILL') break;
    kills++;
    assert.ok((directory.latest()?.position.step ?? 0) >= before, 'a checkpoint was lost');
    if (directory.readValidations('valid').some(({ step }) => step > 0))
      openCheckpoint(directory.best).config();
  }
  assert.ok(kills >= 3, `only ${kills} of the tries were killed`);
  await run(output);
  assert.ok(weightsOf(directory.model).equals(weightsOf(new RunDirectory(expected).model)), 'weights differ');
  assert.ok(weightsOf(directory.best).equals(weightsOf(new RunDirectory(expected).best)), 'best differs');
  assert.deepEqual(validationsOf(output), validationsOf(expected));
  assert.deepEqual(
    directory.readMetrics().map(({ step, loss }) => [step, loss]),
    new RunDirectory(expected).readMetrics().map(({ step, loss }) => [step, loss]),
  );
});

test('a run ends where patience does, and is complete then', async () => {
  const output = join(folder, 'patient');
  const more = ['--patience', '2', '--learning-rate', '0.000000001', '--valid-every-steps', '3'];
  const { stdout } = await run(output, ...more);
  // A rate that changes nothing: the first validation is the best, two more are waited for.
  assert.match(stdout, /finetuning ends after step 9 of 34: 2 validations without a new best meanRecall/);
  assert.equal(new RunDirectory(output).finished()?.step, 9);
  const again = await run(output, ...more);
  assert.match(again.stdout, /finetuning is complete/);
  assert.equal(new RunDirectory(output).readMetrics().length, 9);
});

test('resume goes on with another run; its optimizer and its position can be reset', async () => {
  const { output } = await reference();
  const checkpoints = readdirSync(new RunDirectory(output).checkpoints).sort();
  const resume = join(new RunDirectory(output).checkpoints, checkpoints[0]);
  const from = openCheckpoint(resume).training()!.step;
  assert.ok(from > 0 && from < totalSteps);
  const goesOn = join(folder, 'goes-on');
  await run(goesOn, '--resume', resume);
  assert.ok(weightsOf(new RunDirectory(goesOn).model).equals(weightsOf(new RunDirectory(output).model)));

  const steps = (path: string) => new RunDirectory(path).readMetrics().map(({ step }) => step);
  const newOptimizer = join(folder, 'new-optimizer');
  await run(newOptimizer, '--resume', resume, '--reset-optimizer', '--valid-split', 'none');
  assert.deepEqual(
    steps(newOptimizer),
    Array.from({ length: totalSteps - from }, (_, i) => from + i + 1),
  );
  const updates = (path: string) => openCheckpoint(latest(path)).training()?.optimizer?.step;
  assert.equal(updates(newOptimizer), totalSteps - from);

  const fromStart = join(folder, 'from-start');
  await run(
    fromStart,
    '--resume',
    resume,
    '--reset-data-offset',
    '--max-steps',
    '4',
    '--valid-split',
    'none',
  );
  assert.deepEqual(steps(fromStart), [1, 2, 3, 4]);
  assert.equal(updates(fromStart), from + 4);

  const without = await runCli(finetune(join(folder, 'none'), '--resume', new RunDirectory(output).model));
  assert.match(without.stderr, /holds weights, but no optimizer to resume/);
  const nothing = await runCli(finetune(join(folder, 'none'), '--reset-optimizer'));
  assert.match(nothing.stderr, /say what 'resume' leaves out/);
});

function latest(output: string): string {
  return new RunDirectory(output).latest()!.path;
}

test('a dry run tells what a run would do, overfits a batch, and writes nothing', async () => {
  const output = join(folder, 'dry');
  const { stdout } = await run(output, '--dry-run', '--lora.rank', '2');
  assert.ok(!existsSync(output));
  assert.match(stdout, /learningRate: 0\.001/);
  assert.match(stdout, /tokens of \d+ texts: mean \d+\.\d, median \d+/);
  assert.match(
    stdout,
    /finetuning: [\d,]+ values are trained, \d+\.\d\d % of the model's [\d,]+; [\d,]+ are frozen/,
  );
  assert.match(stdout, /finetuning: 34 steps, 17 an epoch/);
  assert.match(stdout, /about \d+\.\d GB of memory/);
  const [, first, last] = /12 steps on one batch, loss (\d+\.\d+) → (\d+\.\d+)/.exec(stdout)!;
  assert.ok(Number(last) < Number(first));
});

test('patience does not read validation.jsonl in every step', async () => {
  const output = join(folder, 'noted');
  const config = finetuneSchema.parse({
    ...{ model: base, data, output, batchSize: 32, validBatchSize: 16, learningRate: 1e-3, warmupSteps: 2 },
    ...{ maxSteps: 6, validEverySteps: 3, patience: 1, workers: 1 },
  });
  const file = join(output, 'validation.jsonl');
  let step = 0;
  let noted = '';
  // Between two validations the file is none that could be read.
  const shouldStop = () => {
    step++;
    if (step === 1) noted = readFileSync(file, 'utf8');
    if (step <= 2) writeFileSync(file, step === 1 ? 'oops\n' : noted);
    return false;
  };
  assert.ok(await finetuneInProcess(config, { reporter: quiet, shouldStop }));
  assert.ok(validationsOf(output).length >= 2);
});

test('what was opened is closed when a later part is missing', {
  skip: !existsSync('/proc/self/fd'),
}, async () => {
  const output = join(folder, 'unopened');
  const otherData = join(folder, 'elsewhere');
  const config = finetuneSchema.parse({
    ...{ model: base, data, output, batchSize: 32, validBatchSize: 16, learningRate: 1e-3, warmupSteps: 2 },
    ...{ maxSteps: 1, otherData },
  });
  const running = finetuneInProcess(config, { reporter: quiet, shouldStop: () => false });
  await assert.rejects(running, /elsewhere/);
  assert.deepEqual(openFilesIn(data), []);
});

/** The files of a folder that this process holds open. */
function openFilesIn(path: string): string[] {
  const targets = readdirSync('/proc/self/fd').map((name) => {
    try {
      return readlinkSync(join('/proc/self/fd', name));
    } catch {
      // The one that listed the folder.
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(path));
}

test('what is missing or too small is said', async () => {
  const output = join(folder, 'refused');
  const refused = async (...more: string[]) => (await runCli(finetune(output, ...more))).stderr;
  assert.match(await refused('--valid-split', 'dev'), /dev.*\n?.*'none' trains without validation/s);
  assert.ok(!existsSync(output), 'a folder was made');
  const { stdout } = await run(join(folder, 'small'), '--max-steps', '1', '--valid-batch-size', '128');
  assert.match(stdout, /warning: .* has \d+ pairs, fewer than validBatchSize 128/);
});

test('the finished model starts from the weights that were given', async () => {
  const output = join(folder, 'frozen');
  const more = ['--other-data', data, '--other-split', 'valid', '--valid-split', 'none'];
  const { stdout } = await run(output, '--max-steps', '1', '--freeze-vision', ...more);
  assert.match(stdout, /\nother data, before +0 .*\nother data, after +1 /);
  const of = (path: string) =>
    new Map([...openCheckpoint(path).tensors].filter(([name]) => name.startsWith('visual.')));
  assertSameTensors(of(new RunDirectory(output).model), of(base));
});
