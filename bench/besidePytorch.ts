import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createEngine } from '../src/engine/select.js';
import { UserError } from '../src/errors.js';
import { exportOnnx } from '../src/export/exportOnnx.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { installedVersion, version } from '../src/io/version.js';
import { loadModelConfig, type ModelConfig } from '../src/model/config.js';
import { createModel } from '../src/model/load.js';
import { boundToCores, hasTaskset } from './boundToCores.js';
import { SMALL_VOCABULARY } from './measure.js';
import { median } from './timing.js';
import { type Case, type CaseOptions, inferenceCases, type Report, trainingCases } from './work.js';

export interface BesidePytorchOptions extends CaseOptions {
  models: readonly string[];
  /** of `train` and `inference` */
  what: readonly string[];
  /** part of the names of the cases that are measured */
  only: string;
  /** checkout of the reference */
  reference: string | undefined;
  /** interpreter that has PyTorch */
  python: string;
  /** how often each side runs, in turns */
  rounds: number;
  report: (message: string) => void;
}

/** The reference in the environment that a user finds, and with OpenMP's threads told to sleep while they wait. */
const PYTORCH = ['PyTorch', 'PyTorch passive'] as const;
/** A side of the comparison: the reference, or this project as it trains or in the precision of exported files. */
type Side = 'cn-clip' | 'fp32' | 'int8' | (typeof PYTORCH)[number];

export interface SideResult {
  model: string;
  case: string;
  side: Side;
  batchSize: number;
  /** compared by seconds, not by samples a second */
  isLatency: boolean;
  parameters: number;
  threads: number;
  /** of all runs of a round, without padding */
  tokens: number;
  medianSeconds: number;
  minSeconds: number;
  maxSeconds: number;
  samplesPerSecond: number;
  /** the largest of the rounds; null where the system does not tell */
  peakMegabytes: number | null;
  /** of each run, by round */
  seconds: number[][];
}

export interface Ratio {
  model: string;
  case: string;
  /** which two figures are divided: `samples/s, fp32 / PyTorch` */
  ratio: string;
  value: number;
}

export interface BesidePytorch {
  machine: { processor: string | undefined; cores: number };
  versions: Record<string, string>;
  results: SideResult[];
  ratios: Ratio[];
}

const EXPORTED = 'bench';
const OWN_RUNS = fileURLToPath(new URL('./ownRuns.js', import.meta.url));
const PYTHON_RUNS = join(packageRoot, 'bench', 'pytorch.py');

/**
 * Measures training steps and inference of this project and of the reference in PyTorch, in turns, every case in a new
 * process of each side and both bound to the same cores.
 *
 * @throws UserError where the reference or PyTorch is missing, a side fails, or the sides did not do the same work
 */
export async function measureBesidePytorch(options: BesidePytorchOptions): Promise<BesidePytorch> {
  const { models, what, python } = options;
  const reference = requireReference(options.reference);
  const unknown = what.find((each) => each !== 'train' && each !== 'inference');
  if (unknown !== undefined) throw new UserError(`--what ${unknown}: expected train, inference or both`);
  const torch = requireTorch(python);
  if (!hasTaskset) options.report('no taskset: not bound to cores');
  const folder = mkdtempSync(join(tmpdir(), 'cn-clip-bench-'));
  try {
    const results: SideResult[] = [];
    for (const model of models) {
      const config = loadModelConfig(model, { vocabSize: SMALL_VOCABULARY });
      const compare = (each: Case, sides: readonly Side[]) => {
        if (!each.name.includes(options.only)) return;
        results.push(...inTurns(model, each, sides, { ...options, reference }, folder));
      };
      if (what.includes('train')) {
        for (const each of trainingCases(config, options)) compare(each, ['cn-clip', ...PYTORCH]);
      }
      if (what.includes('inference')) {
        options.report(`${model}: exporting`);
        await exportTowers(config, folder);
        for (const each of inferenceCases(config, options)) compare(each, ['fp32', ...PYTORCH, 'int8']);
      }
    }
    const versions = {
      'cn-clip': version,
      node: process.version,
      'onnxruntime-node': installedVersion('onnxruntime-node'),
      torch,
    };
    const machine = { processor: cpus()[0]?.model, cores: cpus().length };
    return { machine, versions, results, ratios: ratiosOf(results) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Random weights, so int8 may be far off: speed is measured, not likeness. */
async function exportTowers(config: ModelConfig, folder: string): Promise<void> {
  const model = createModel(config, await createEngine(), 0);
  await exportOnnx(model, {
    out: join(folder, EXPORTED),
    precisions: ['fp32', 'int8'],
    minimumCosine: { fp32: -1, int8: -1 },
    overwrite: true,
  });
  await model.dispose();
}

function inTurns(
  model: string,
  each: Case,
  sides: readonly Side[],
  options: BesidePytorchOptions & { reference: string },
  folder: string,
): SideResult[] {
  const { name, work } = each;
  const workFile = join(folder, 'work.json');
  writeFileSync(workFile, JSON.stringify(work));
  const reports = new Map(sides.map((side) => [side, [] as Report[]]));
  for (let round = 0; round < options.rounds; round++) {
    for (const [side, done] of reports) {
      const command = isPytorch(side)
        ? [options.python, PYTHON_RUNS, options.reference, workFile]
        : [
            process.execPath,
            OWN_RUNS,
            workFile,
            ...(side === 'cn-clip' ? [] : [join(folder, EXPORTED), side]),
          ];
      const report = run(command, work.threads, side === 'PyTorch passive');
      done.push(report);
      requireSameWork(name, side, report, sides[0], reports.get(sides[0])![0]);
      options.report(`${model}, ${name}, ${side}: ${median(report.seconds).toFixed(4)} s`);
    }
  }
  return [...reports].map(([side, done]) => resultOf(model, each, side, done));
}

function isPytorch(side: Side): boolean {
  return PYTORCH.some((each) => each === side);
}

function run(command: readonly string[], threads: number, isPassive: boolean): Report {
  const [program, ...args] = boundToCores(`0-${threads - 1}`, command);
  const { status, stdout, error } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      // Waiting threads of OpenMP otherwise take the cores that OpenBLAS' threads need.
      ...(isPassive && { OMP_WAIT_POLICY: 'PASSIVE' }),
      OPENBLAS_NUM_THREADS: String(threads),
      OMP_NUM_THREADS: String(threads),
    },
  });
  if (status !== 0) throw new UserError(`${command.join(' ')} failed: ${error?.message ?? `exit ${status}`}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Report;
}

/** @throws UserError where a side computed something else than the first */
function requireSameWork(name: string, side: string, report: Report, first: string, expected: Report): void {
  for (const what of ['parameters', 'threads', 'tokens'] as const) {
    if (report[what] === expected[what]) continue;
    throw new UserError(
      `${name}: ${side} has ${report[what]} ${what}, ${first} ${expected[what]}: this is no comparison`,
    );
  }
}

function resultOf(
  model: string,
  { name, work, isLatency }: Case,
  side: Side,
  reports: readonly Report[],
): SideResult {
  const all = reports.flatMap(({ seconds }) => seconds);
  const peaks = reports.flatMap(({ peakMegabytes }) => peakMegabytes ?? []);
  const { parameters, threads, tokens } = reports[0];
  const medianSeconds = median(all);
  return {
    model,
    case: name,
    side,
    batchSize: work.batchSize,
    isLatency,
    parameters,
    threads,
    tokens,
    medianSeconds,
    minSeconds: Math.min(...all),
    maxSeconds: Math.max(...all),
    samplesPerSecond: work.batchSize / medianSeconds,
    peakMegabytes: peaks.length === 0 ? null : Math.max(...peaks),
    seconds: reports.map(({ seconds }) => seconds),
  };
}

/** Of our side to PyTorch, and of int8 to fp32. */
function ratiosOf(results: readonly SideResult[]): Ratio[] {
  return results.flatMap((result) => {
    const { model, case: name, side, isLatency } = result;
    if (isPytorch(side)) return [];
    const others: readonly Side[] = side === 'int8' ? ['fp32'] : PYTORCH;
    return others.flatMap((other) => {
      const base = results.find((each) => each.model === model && each.case === name && each.side === other)!;
      const ratio = (figure: string, value: number): Ratio => {
        return { model, case: name, ratio: `${figure}, ${side} / ${other}`, value };
      };
      const speed = isLatency
        ? ratio('seconds', result.medianSeconds / base.medianSeconds)
        : ratio('samples/s', result.samplesPerSecond / base.samplesPerSecond);
      if (result.peakMegabytes === null || base.peakMegabytes === null) return [speed];
      return [speed, ratio('peak memory', result.peakMegabytes / base.peakMegabytes)];
    });
  });
}

function requireReference(folder: string | undefined): string {
  const get =
    'get it with git clone https://github.com/OFA-Sys/Chinese-CLIP and name its folder with --reference DIR';
  if (folder === undefined) throw new UserError(`the Python reference is not part of this project: ${get}`);
  if (existsSync(join(folder, 'cn_clip', 'clip', 'model.py'))) return folder;
  throw new UserError(`${folder} holds no cn_clip/clip/model.py of the Python reference: ${get}`);
}

/** The version of PyTorch that the interpreter has. */
function requireTorch(python: string): string {
  const { status, stdout } = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], {
    encoding: 'utf8',
  });
  if (status === 0) return stdout.trim();
  throw new UserError(`${python} has no PyTorch: name a Python that has with --python or CN_CLIP_PYTHON`);
}
