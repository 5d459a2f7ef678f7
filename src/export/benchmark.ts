import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  type ProviderOptions,
  requireTaken,
  sessionsSideBySide,
  takenBy,
} from '../engine/onnx/sessionOptions.js';
import { openSessions, type SessionInput, type Sessions } from '../engine/onnx/sessions.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { picturesAtOnce, textsAtOnce } from '../model/atOnce.js';
import { loadModelConfig, type ModelConfig } from '../model/config.js';
import { createModel } from '../model/load.js';
import { Random } from '../random.js';
import { checkpointSource } from './checkpointSource.js';
import { runDivided } from './engineBatches.js';
import { findExport, graphBytes, openExport } from './exportedFiles.js';
import { towerFiles } from './exportedModel.js';
import { exportOnnx } from './exportOnnx.js';
import type { ExportSource } from './options.js';
import type { Precision, Tower } from './parity.js';

export interface BenchmarkOptions {
  /** a checkpoint, or the name of a size, which then has random weights */
  model: string;
  config?: string;
  batchSizes: readonly number[];
  precisions: readonly Precision[];
  /** ONNX Runtime's execution providers */
  providers: readonly string[];
  /** each is told those that it takes */
  providerOptions?: ProviderOptions;
  /** tokens of each text */
  textLength: number;
  warmup: number;
  runs: number;
  report?: (message: string) => void;
}

/** How fast a tower is. */
export interface TowerSpeed {
  tower: Tower;
  precision: Precision;
  provider: string;
  /** 1: the batch as a whole. More: divided among so many sessions, as commands that encode much do on the processor */
  sessions: number;
  batchSize: number;
  /** of one run, in milliseconds */
  latency: { median: number; min: number; p95: number; max: number };
  /** images or texts, by the median */
  perSecond: number;
}

const EXPORTED = 'benchmark';
/** The vocabulary of a size whose config leaves it to the data. */
const SMALL_VOCABULARY = 2000;

/**
 * Latency and throughput of each tower, as the reference's speed_benchmark measures them: towers are exported to a
 * temporary folder in each precision, and run on random pixels and token ids.
 *
 * @throws UserError where a provider can't be started, none takes an option, or the model is neither a checkpoint nor a
 * known size
 */
export async function benchmarkTowers(options: BenchmarkOptions): Promise<TowerSpeed[]> {
  const { model, precisions, providers, providerOptions = {}, report = () => {} } = options;
  requireTaken(providers, providerOptions);
  if (findExport(model) !== undefined) {
    throw new UserError(
      `${model} names exported files, and benchmark exports by itself: name the checkpoint, or a size, and --precisions`,
    );
  }
  // Before a large model is written: what was asked for must be there.
  for (const provider of providers) {
    const told = takenBy(provider, providerOptions);
    await (await createEngine('onnx', provider, report, told)).dispose();
  }
  const folder = mkdtempSync(join(tmpdir(), 'cn-clip-benchmark-'));
  const prefix = join(folder, EXPORTED);
  try {
    const source = existsSync(model)
      ? checkpointSource(model, { config: options.config, warn: report })
      : await randomModel(model);
    // Speed is measured, not likeness: int8 of random weights may be far off.
    const minimumCosine = { fp32: -1, fp16: -1, int8: -1 };
    await exportOnnx(source, { out: prefix, precisions, minimumCosine });
    await source.release?.();
    const exported = openExport(prefix);
    const speeds: TowerSpeed[] = [];
    report(speedHeader);
    for (const tower of ['image', 'text'] as const) {
      for (const precision of precisions) {
        const file = towerFiles(prefix, (graph) => join(folder, graph), precision)[tower];
        const bytes = graphBytes(exported, basename(file.path));
        for (const provider of providers) {
          const told = takenBy(provider, providerOptions);
          const most = sessionsSideBySide(provider, bytes);
          for (const count of most === 1 ? [1] : [1, most]) {
            const sessions = openSessions(file, provider, told, count);
            try {
              // A batch of one can't be divided.
              for (const batchSize of options.batchSizes.filter((size) => count === 1 || size > 1)) {
                const input = randomInput(source, tower, batchSize, options.textLength);
                const latency = await timeRuns(() => encode(sessions, source.config, input), options);
                const perSecond = (1000 * batchSize) / latency.median;
                const speed = { tower, precision, provider, sessions: count, batchSize, latency, perSecond };
                speeds.push(speed);
                report(speedRow(speed));
              }
            } finally {
              await sessions.release();
            }
          }
        }
      }
    }
    return speeds;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const speedHeader = row([
  'tower',
  'precision',
  'provider',
  'sessions',
  'batch',
  'ms',
  'min',
  'p95',
  'per second',
]);

function speedRow(speed: TowerSpeed): string {
  const { tower, precision, provider, sessions, batchSize, latency, perSecond } = speed;
  const { median, min, p95 } = latency;
  const numbers = [median, min, p95, perSecond].map((value) => value.toFixed(1));
  return row([tower, precision, provider, String(sessions), String(batchSize), ...numbers]);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i < 3 ? cell.padEnd(10) : cell.padStart(i < 5 ? 9 : 11))).join('');
}

async function randomModel(name: string): Promise<ExportSource> {
  return createModel(loadModelConfig(name, { vocabSize: SMALL_VOCABULARY }), await createEngine(), 0);
}

function randomInput({ config }: ExportSource, tower: Tower, n: number, length: number): SessionInput {
  const random = new Random(0, 'benchmark', n);
  if (tower === 'image') {
    const side = config.image_resolution;
    const data = Float32Array.from({ length: n * 3 * side * side }, () => random.normal());
    return { type: 'float32', data, dims: [n, 3, side, side] };
  }
  const tokens = Math.min(length, config.text_max_position_embeddings);
  const data = BigInt64Array.from({ length: n * tokens }, () =>
    BigInt(1 + random.integer(config.vocab_size - 1)),
  );
  return { type: 'int64', data, dims: [n, tokens] };
}

/** Runs one session on the whole input, several on parts of it. */
function encode(sessions: Sessions, config: ModelConfig, input: SessionInput): Promise<Float32Array> {
  const { count, rowsAtOnce } = sessions;
  if (count === 1) return sessions.run(input);
  const max =
    input.type === 'float32' ? picturesAtOnce(config, rowsAtOnce) : textsAtOnce(input.dims[1], rowsAtOnce);
  return runDivided(sessions, input, { min: 1, max }, config.embed_dim);
}

async function timeRuns(
  run: () => Promise<unknown>,
  { warmup, runs }: Pick<BenchmarkOptions, 'warmup' | 'runs'>,
): Promise<TowerSpeed['latency']> {
  const times: number[] = [];
  for (let i = -warmup; i < runs; i++) {
    const began = performance.now();
    await run();
    if (i >= 0) times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(runs - 1, Math.floor(share * runs))];
  return { median: at(0.5), min: times[0], p95: at(0.95), max: times[runs - 1] };
}
