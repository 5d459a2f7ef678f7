import { parseArgs } from 'node:util';
import { writeFileAtomic } from '../src/io/atomic.js';
import { benchImages } from './images.js';
import { type Measurement, measure } from './measure.js';

/**
 * Samples per second of a training step (forward, backward, AdamW) and of each tower's inference, as a table and as
 * JSON; with the argument `images`, pictures per second instead. See bench/README.md for the comparison with PyTorch.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', multiple: true, default: ['ViT-B-32+RBT3-chinese', 'emoji'] },
    batch: { type: 'string', default: '16' },
    context: { type: 'string', default: '52' },
    steps: { type: 'string', default: '8' },
    engine: { type: 'string', default: 'onnx' },
    provider: { type: 'string', default: 'cpu' },
    json: { type: 'string' },
    python: { type: 'string', default: process.env.CN_CLIP_PYTHON ?? 'python3' },
    core: { type: 'string', default: '0' },
    rounds: { type: 'string', default: '3' },
  },
});

if (positionals[0] === 'images') await benchImages(values.python, values.core, Number(values.rounds));
else await benchModels();

async function benchModels(): Promise<void> {
  const results: Measurement[] = [];
  for (const model of values.model) {
    results.push(
      ...(await measure({
        model,
        batchSize: Number(values.batch),
        contextLength: Number(values.context),
        steps: Number(values.steps),
        engine: values.engine,
        provider: values.provider,
      })),
    );
  }

  const columns = ['model', 'engine', 'what', 'batch', 'median s', 'min s', 'max s', 'samples/s'];
  const rows = results.map(
    ({ model, engine, what, batchSize, medianSeconds, minSeconds, maxSeconds, samplesPerSecond }) => [
      model,
      engine,
      what,
      String(batchSize),
      ...[medianSeconds, minSeconds, maxSeconds].map((seconds) => seconds.toFixed(4)),
      samplesPerSecond.toFixed(2),
    ],
  );
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i].length)));
  for (const row of [columns, ...rows]) console.log(row.map((cell, i) => cell.padEnd(widths[i])).join('  '));
  const json = JSON.stringify(results, null, 1);
  if (values.json === undefined) console.log(json);
  else writeFileAtomic(values.json, (append) => append(`${json}\n`));
}
