import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { pretrainSchema } from '../src/config/pretrain.js';
import type { Reporter } from '../src/io/terminal.js';
import { pretrain } from '../src/train/pretrain.js';
import { RunDirectory } from '../src/train/runDirectory.js';
import { runCli } from './runCli.js';
import { fixture, onnx, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();
const data = join(folder, 'data');
cpSync(fixture('dataset'), data, { recursive: true });
const quiet: Reporter = { line: () => {}, begin: () => {}, advance: () => {}, end: () => {} };

const stage = { epochs: 1, batchSize: 48, learningRate: 0.001, warmupSteps: 2 };
const teacher = join(folder, 'teacher');
const smallTeacher = join(folder, 'small-teacher');
for (const [path, changes] of [
  [teacher, { embed_dim: 48 }],
  [smallTeacher, { image_resolution: 16 }],
] as const) {
  const model = tinyModel(onnx, changes, 5);
  writeCheckpoint(path, { weights: model.tensors, config: model.config });
}

async function vocabulary(): Promise<void> {
  const out = join(data, 'vocab.txt');
  if (existsSync(out)) return;
  const built = await runCli(['data', 'build-vocab', '--data', data, '--out', out, '--max-size', '300']);
  assert.equal(built.code, 0, built.stderr);
}

/** Runs both stages into a folder; stops after so many steps, if any are given. */
async function run(output: string, stage2: object, stopAfter = Infinity): Promise<string | undefined> {
  await vocabulary();
  const config = pretrainSchema.parse({
    model: 'tiny',
    data,
    output,
    stage1: { ...stage, accumulate: 2, clipNorm: 1, schedule: 'constant' },
    stage2: { ...stage, ...stage2 },
  });
  let steps = 0;
  return pretrain(config, { stages: [1, 2], reporter: quiet, shouldStop: () => ++steps >= stopAfter });
}

const settings = {
  adapters: { lora: { rank: 2, alpha: 4, heads: true }, checkpointing: true, teacher },
  'a small teacher': { teacher: smallTeacher },
  'a small teacher of changing pictures': { teacher: smallTeacher, augment: true },
  parts: { accumulate: 3, maskRatio: 0.5, freezeTextBlocks: 1, clipNorm: 0.5 },
};
for (const [name, stage2] of Object.entries(settings)) {
  test(`a run with ${name} that is stopped in either stage ends with the bits of one that is not`, async () => {
    const [straight, stopped] = [join(folder, name), join(folder, `${name}-stopped`)];
    assert.ok(await run(straight, stage2));
    const perStage = new RunDirectory(straight).readMetrics().length / 2;
    for (const steps of [3, perStage]) assert.equal(await run(stopped, stage2, steps), undefined);
    assert.ok(await run(stopped, stage2));
    const weights = (output: string) => readFileSync(join(output, 'model', 'model.safetensors'));
    assert.ok(weights(stopped).equals(weights(straight)), 'weights differ');
    const losses = (output: string) => new RunDirectory(output).readMetrics().map(({ loss }) => loss);
    assert.deepEqual(losses(stopped), losses(straight));
  });
}

test('settings that do not suit a stage are refused before a folder is made', async () => {
  const output = join(folder, 'unsuitable');
  await assert.rejects(run(output, { maskRatio: 0.5, freezeVision: true }), /maskRatio has no use/);
  await assert.rejects(run(output, { freezeTextBlocks: 9 }), /freezeTextBlocks is 9/);
  // A teacher of stage 2 is no surprise after stage 1.
  const nowhere = join(folder, 'nowhere');
  await assert.rejects(run(output, { teacher: nowhere }), /nowhere does not exist: give a checkpoint/);
  await assert.rejects(run(output, { teacher, freezeVision: true }), /a teacher has no use/);
  const damaged = join(folder, 'damaged');
  cpSync(teacher, damaged, { recursive: true });
  cpSync(join(smallTeacher, 'config.json'), join(damaged, 'config.json'));
  await assert.rejects(run(output, { teacher: damaged }), /damaged.*(text_projection|visual\.proj)/);
  assert.ok(!existsSync(output));
});
