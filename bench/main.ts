import { UserError } from '../src/errors.js';
import { writeFileAtomic } from '../src/io/atomic.js';
import { measureApproximate } from './approximate.js';
import { measureBesidePytorch } from './besidePytorch.js';
import { measureDataWait } from './dataWait.js';
import { parseFlags } from './flags.js';
import { benchImages } from './images.js';
import { type Measurement, measure } from './measure.js';
import { measureSearch } from './search.js';
import { measureServe, type ServeRound } from './serve.js';

/**
 * Samples per second of a training step (forward, backward, AdamW) and of each tower's inference, as a table and as
 * JSON. With `data-wait`: how much of a training step is waiting for data; with `images`: pictures per second of
 * decoding and resizing; with `search`: the exact search of eval-retrieval;
 * with `approximate`: building and searching an approximate index, beside the exact search;
 * with `serve`: an index under 200 requests at a time (--index, --seconds, --rounds); with `pytorch`: training and
 * inference beside the Python reference (--reference, --python). See bench/README.md.
 */
const { values, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    model: { type: 'string', multiple: true },
    batch: { type: 'string', default: '16' },
    context: { type: 'string', default: '52' },
    steps: { type: 'string', default: '8' },
    engine: { type: 'string', default: 'onnx' },
    provider: { type: 'string', default: 'cpu' },
    workers: { type: 'string', default: '2' },
    queries: { type: 'string', default: '10000' },
    candidates: { type: 'string', default: '1000000' },
    dimension: { type: 'string', default: '512' },
    index: { type: 'string' },
    seconds: { type: 'string', default: '30' },
    json: { type: 'string' },
    python: { type: 'string', default: process.env.CN_CLIP_PYTHON ?? 'python3' },
    core: { type: 'string', default: '0' },
    rounds: { type: 'string' },
    reference: { type: 'string' },
    what: { type: 'string', default: 'train,inference' },
    only: { type: 'string', default: '' },
    'train-batch': { type: 'string', default: '8' },
    threads: { type: 'string', default: '2' },
    warm: { type: 'string', default: '2' },
  },
});
const workload = {
  batchSize: Number(values.batch),
  contextLength: Number(values.context),
  steps: Number(values.steps),
  engine: values.engine,
  provider: values.provider,
};
const models = values.model ?? ['ViT-B-32+RBT3-chinese', 'emoji'];
const rounds = Number(values.rounds ?? 3);
const benchmarks: Record<string, () => Promise<void>> = {
  'data-wait': dataWait,
  images: () => benchImages(values.python, values.core, rounds),
  search,
  approximate,
  serve,
  pytorch,
};
try {
  const [name] = positionals;
  const benchmark = name === undefined ? speed : benchmarks[name];
  if (benchmark === undefined) {
    throw new UserError(`no benchmark "${name}": give ${Object.keys(benchmarks).join(', ')}, or none`);
  }
  await benchmark();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

async function speed(): Promise<void> {
  const results: Measurement[] = [];
  for (const model of models) results.push(...(await measure({ ...workload, model })));
  print(
    ['model', 'engine', 'what', 'batch', 'median s', 'min s', 'max s', 'samples/s'],
    results.map(
      ({ model, engine, what, batchSize, medianSeconds, minSeconds, maxSeconds, samplesPerSecond }) => [
        model,
        engine,
        what,
        String(batchSize),
        ...[medianSeconds, minSeconds, maxSeconds].map((seconds) => seconds.toFixed(4)),
        samplesPerSecond.toFixed(2),
      ],
    ),
    results,
  );
}

async function serve(): Promise<void> {
  if (values.index === undefined) throw new UserError('give --index, a folder that cn-clip index made');
  const done: ServeRound[] = [];
  await measureServe(values.index, Number(values.seconds), rounds, (round) => {
    done.push(round);
    console.error(`round ${done.length - 1}: ${round.residentMegabytes} MB`);
  });
  print(
    [
      'round',
      'requests',
      'errors',
      'requests/s',
      'median ms',
      'p99 ms',
      'resident MB',
      'heap MB',
      'buffers MB',
    ],
    done.map((round, i) => [
      String(i),
      String(round.requests),
      String(round.errors),
      round.requestsPerSecond.toFixed(1),
      round.medianMilliseconds.toFixed(0),
      round.p99Milliseconds.toFixed(0),
      ...[round.residentMegabytes, round.heapMegabytes, round.bufferMegabytes].map(String),
    ]),
    done,
  );
}

async function dataWait(): Promise<void> {
  const result = await measureDataWait({
    ...workload,
    model: models[0],
    workers: Number(values.workers),
  });
  print(
    ['model', 'engine', 'batch', 'JPEG kB', 'median step s', 'median wait s', 'max wait s', 'waiting'],
    [
      [
        result.model,
        result.engine,
        String(result.batchSize),
        (result.pictureBytes / 1000).toFixed(0),
        ...[result.medianStepSeconds, result.medianWaitSeconds, result.maxWaitSeconds].map((seconds) =>
          seconds.toFixed(4),
        ),
        `${(100 * result.waitShare).toFixed(2)} %`,
      ],
    ],
    result,
  );
}

async function search(): Promise<void> {
  const result = await measureSearch({
    queries: Number(values.queries),
    candidates: Number(values.candidates),
    dimension: Number(values.dimension),
    k: 10,
  });
  print(
    ['queries', 'candidates', 'dimension', 'seconds', 'GFLOP/s', 'matrix GFLOP/s', 'share', 'peak MiB'],
    [
      [
        ...[result.queries, result.candidates, result.dimension].map(String),
        result.seconds.toFixed(2),
        result.gigaflops.toFixed(1),
        result.matrixGigaflops.toFixed(1),
        `${((100 * result.gigaflops) / result.matrixGigaflops).toFixed(0)} %`,
        result.peakMegabytes.toFixed(0),
      ],
    ],
    result,
  );
}

async function approximate(): Promise<void> {
  const result = await measureApproximate(Number(values.candidates), Number(values.dimension));
  const { openSeconds, queryMilliseconds, batchMilliseconds, recallAt10 } = result;
  print(
    ['search', 'open s', 'one query ms', '32 queries ms', 'recall@10: own', 'alike', 'apart'],
    [
      [
        'approximate',
        openSeconds.approximate.toFixed(2),
        queryMilliseconds.approximate.toFixed(2),
        batchMilliseconds.approximate.toFixed(1),
        ...[recallAt10.own, recallAt10.alike, recallAt10.apart].map((recall) => recall.toFixed(4)),
      ],
      [
        'exact',
        openSeconds.exact.toFixed(2),
        queryMilliseconds.exact.toFixed(2),
        batchMilliseconds.exact.toFixed(1),
        ...['1', '1', '1'],
      ],
    ],
    result,
  );
}

async function pytorch(): Promise<void> {
  const measured = await measureBesidePytorch({
    models: values.model ?? ['ViT-B-16+RoBERTa-wwm-ext-base-chinese'],
    what: values.what.split(','),
    only: values.only,
    reference: values.reference,
    python: values.python,
    rounds: Number(values.rounds ?? 2),
    batchSize: workload.batchSize,
    trainBatchSize: Number(values['train-batch']),
    contextLength: workload.contextLength,
    threads: Number(values.threads),
    warm: Number(values.warm),
    steps: workload.steps,
    report: console.error,
  });
  const { results, ratios } = measured;
  printTable(
    [
      'model',
      'case',
      'side',
      'batch',
      'median s',
      'min s',
      'max s',
      'samples/s',
      'peak MiB',
      'parameters',
      'tokens',
    ],
    results.map((result) => [
      result.model,
      result.case,
      result.side,
      String(result.batchSize),
      ...[result.medianSeconds, result.minSeconds, result.maxSeconds].map((seconds) => seconds.toFixed(4)),
      result.samplesPerSecond.toFixed(2),
      result.peakMegabytes?.toFixed(0) ?? '–',
      String(result.parameters),
      String(result.tokens),
    ]),
  );
  console.log();
  print(
    ['model', 'case', 'ratio', 'value'],
    ratios.map(({ model, case: name, ratio, value }) => [model, name, ratio, value.toFixed(3)]),
    measured,
  );
}

/** A table, and the same as JSON. */
function print(columns: string[], rows: string[][], results: unknown): void {
  printTable(columns, rows);
  const json = JSON.stringify(results, null, 1);
  if (values.json === undefined) console.log(json);
  else writeFileAtomic(values.json, (append) => append(`${json}\n`));
}

function printTable(columns: string[], rows: string[][]): void {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i].length)));
  for (const row of [columns, ...rows]) console.log(row.map((cell, i) => cell.padEnd(widths[i])).join('  '));
}
