import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import {
  type ProviderOptions,
  requireTaken,
  sessionOptions,
  takenBy,
} from '../engine/onnx/sessionOptions.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { loadModelConfig } from '../model/config.js';
import { createModel } from '../model/load.js';
import { Random } from '../random.js';
import { checkpointSource } from './checkpointSource.js';
import { findExport } from './exportedFiles.js';
import { exportOnnx } from './exportOnnx.js';
import type { ExportSource } from './options.js';
import type { Precision, Tower } from './parity.js';
import { towerParts } from './parts.js';

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
  try {
    const source = existsSync(model)
      ? checkpointSource(model, { config: options.config, warn: report })
      : await randomModel(model);
    // Speed is measured, not likeness: int8 of random weights may be far off.
    const minimumCosine = { fp32: -1, fp16: -1, int8: -1 };
    await exportOnnx(source, { out: join(folder, EXPORTED), precisions, minimumCosine });
    await source.release?.();
    const speeds: TowerSpeed[] = [];
    report(speedHeader);
    for (const part of towerParts(EXPORTED)) {
      for (const precision of precisions) {
        for (const provider of providers) {
          const session = await ort.InferenceSession.create(
            join(folder, part.fileName(precision)),
            sessionOptions(provider, takenBy(provider, providerOptions)),
          );
          try {
            for (const batchSize of options.batchSizes) {
              const tower = part.names.image === undefined ? 'text' : 'image';
              const feeds = randomFeeds(source, tower, batchSize, options.textLength);
              const latency = await timeRuns(() => session.run(feeds), options);
              const perSecond = (1000 * batchSize) / latency.median;
              speeds.push({ tower, precision, provider, batchSize, latency, perSecond });
              report(speedRow(speeds[speeds.length - 1]));
            }
          } finally {
            await session.release();
          }
        }
      }
    }
    return speeds;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const speedHeader = row(['tower', 'precision', 'provider', 'batch', 'ms', 'min', 'p95', 'per second']);

function speedRow({ tower, precision, provider, batchSize, latency, perSecond }: TowerSpeed): string {
  const { median, min, p95 } = latency;
  const numbers = [median, min, p95, perSecond].map((value) => value.toFixed(1));
  return row([tower, precision, provider, String(batchSize), ...numbers]);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i < 3 ? cell.padEnd(10) : cell.padStart(i === 3 ? 6 : 11))).join('');
}

async function randomModel(name: string): Promise<ExportSource> {
  return createModel(loadModelConfig(name, { vocabSize: SMALL_VOCABULARY }), await createEngine(), 0);
}

function randomFeeds(
  { config }: ExportSource,
  tower: Tower,
  n: number,
  length: number,
): Record<string, ort.Tensor> {
  const random = new Random(0, 'benchmark', n);
  if (tower === 'image') {
    const side = config.image_resolution;
    const pixels = Float32Array.from({ length: n * 3 * side * side }, () => random.normal());
    return { image: new ort.Tensor('float32', pixels, [n, 3, side, side]) };
  }
  const tokens = Math.min(length, config.text_max_position_embeddings);
  const ids = BigInt64Array.from({ length: n * tokens }, () =>
    BigInt(1 + random.integer(config.vocab_size - 1)),
  );
  return { text: new ort.Tensor('int64', ids, [n, tokens]) };
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
