import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createEngine } from '../src/engine/select.js';
import { loadExportedModel } from '../src/export/exportedModel.js';
import type { Precision } from '../src/export/parity.js';
import { createModel } from '../src/model/load.js';
import { Random } from '../src/random.js';
import { createTrainer } from '../src/train/trainer.js';
import { timedRuns } from './timing.js';
import type { Report, Work } from './work.js';

/**
 * Does a piece of work and prints its report: `WORK.json` for training steps, as `pretrain` takes them; `WORK.json
 * EXPORT PRECISION` for a tower that was exported.
 */
const [workFile, exported, precision] = process.argv.slice(2);
const work = JSON.parse(readFileSync(workFile, 'utf8')) as Work;
const { batchSize, config, warm, steps } = work;
const batches = work.texts.map(paddedToLongest);
const random = new Random(0, 'bench');
const pixels = Float32Array.from({ length: batchSize * 3 * config.image_resolution ** 2 }, () =>
  random.normal(),
);
const { parameters, seconds } = work.what === 'training step' ? await train() : await encode();
const report: Report = {
  parameters,
  // As many threads as the process may use cores is what sessions are given.
  threads: availableParallelism(),
  tokens: batches.reduce((sum, { ids }) => sum + ids.filter((id) => id !== 0).length, 0),
  seconds,
  peakMegabytes: peakMegabytes(),
};
console.log(JSON.stringify(report));

async function train(): Promise<Pick<Report, 'parameters' | 'seconds'>> {
  const model = createModel(config, await createEngine('onnx', 'cpu'), 0);
  const trainer = await createTrainer(model, { learningRate: 1e-5, warmupSteps: 0, totalSteps: 1000 });
  const step = (i: number) => trainer.step({ pixels, ...batches[i], n: batchSize });
  const seconds = await timedRuns(steps, step, warm);
  const parameters = trainer.trainableCount;
  await trainer.dispose();
  await model.dispose();
  return { parameters, seconds };
}

async function encode(): Promise<Pick<Report, 'parameters' | 'seconds'>> {
  const model = await loadExportedModel(exported, {
    precision: precision as Precision,
    optimizeFor: batchSize === 1 ? 'latency' : 'throughput',
  });
  const run =
    work.what === 'image tower'
      ? () => model.encodeImages(pixels, batchSize)
      : (i: number) => model.encodeTexts(batches[i].ids, batchSize, batches[i].length);
  const seconds = await timedRuns(steps, run, warm);
  await model.dispose();
  return { parameters: model.parameterCount, seconds };
}

/** As the tokenizer pads a batch of texts. */
function paddedToLongest(texts: readonly number[][]): { ids: Int32Array; length: number } {
  const length = Math.max(...texts.map((text) => text.length));
  const ids = new Int32Array(texts.length * length);
  for (const [i, text] of texts.entries()) ids.set(text, i * length);
  return { ids, length };
}

/** The process' own peak: `maxRSS` begins with that of the parent. */
function peakMegabytes(): number | null {
  const status = '/proc/self/status';
  const found = existsSync(status) && /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'));
  return found ? Number(found[1]) / 1024 : null;
}
