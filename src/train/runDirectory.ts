import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { checkpointFiles, readState } from '../checkpoint/directory.js';
import { isDirectory } from '../checkpoint/files.js';
import { messageOf, UserError } from '../errors.js';
import { restoreReplaced, writeFileAtomic, writeText } from '../io/atomic.js';
import { isRecord, readJson } from '../io/json.js';
import type { StepResult } from './trainer.js';
import type { ValidationRecord } from './validation.js';

/** Where a run stands: in which stage, and how many of its optimizer steps are taken. */
const positionSchema = z.object({
  stage: z.union([z.literal(1), z.literal(2)]),
  step: z.number().int().min(0),
  totalSteps: z.number().int().positive(),
});
export type Position = z.infer<typeof positionSchema>;

/** One line of metrics.jsonl. */
export interface StepMetrics extends StepResult {
  stage: 1 | 2;
  /** counted from 1 within the stage */
  step: number;
  epoch: number;
  samplesPerSecond: number;
  /** seconds spent waiting for data, and in all */
  dataTime: number;
  batchTime: number;
  /** texts of the batch that lost their end, pairs that repeat a text or an image of it, pairs for broken pictures */
  cutTexts: number;
  repeatedPairs: number;
  replacedPairs: number;
}

const temporary = /\.\d+\.tmp$/;
const checkpointName = /^stage([12])-step(\d{8})$/;

/** How many values a stage trains, and how many the model has. */
export interface ParameterCounts {
  trained: number;
  all: number;
}

/**
 * The folder of a training run: config.yaml, parameters.json, metrics.jsonl, validation.jsonl, train.log, events/,
 * checkpoints/, best/ and, at the end, model/.
 */
export class RunDirectory {
  readonly checkpoints: string;
  /** the finished model, a checkpoint directory */
  readonly model: string;
  /** the model that was best in validation, a checkpoint directory */
  readonly best: string;
  /** files of TensorBoard */
  readonly events: string;
  private readonly config: string;
  private readonly parameters: string;
  private readonly metrics: string;
  private readonly validations: string;
  private readonly log: string;

  /** @param origin checkpoint of another run that this one goes on from, as long as it has none of its own */
  constructor(
    readonly path: string,
    private readonly origin?: { path: string; position: Position },
  ) {
    this.checkpoints = join(path, 'checkpoints');
    this.model = join(path, 'model');
    this.best = join(path, 'best');
    this.events = join(path, 'events');
    this.config = join(path, 'config.yaml');
    this.parameters = join(path, 'parameters.json');
    this.metrics = join(path, 'metrics.jsonl');
    this.validations = join(path, 'validation.jsonl');
    this.log = join(path, 'train.log');
  }

  /**
   * Whether a run with these settings may start or go on here; nothing is written.
   *
   * @param settings all that the outcome depends on
   * @throws UserError if the folder holds something else, or a run with other settings: the first that differs is named
   */
  check(settings: Record<string, unknown>): void {
    if (existsSync(this.config)) {
      const before = this.readSettings();
      const difference = firstDifference(before, settings);
      if (difference === undefined) return;
      throw new UserError(
        `${this.path} holds a run with another ${difference}: give another output folder, or delete this one`,
      );
    }
    // A process killed at its very start leaves an empty folder of checkpoints, or less.
    const others = isDirectory(this.path)
      ? readdirSync(this.path).filter((name) => name !== 'checkpoints' && !temporary.test(name))
      : [];
    if (others.length > 0) {
      throw new UserError(`${this.path} is not empty and holds no run: give another output folder`);
    }
  }

  /** Starts a run in this folder, or takes up the one that is there. @throws UserError as `check` */
  open(settings: Record<string, unknown>): void {
    this.check(settings);
    mkdirSync(this.checkpoints, { recursive: true });
    if (!existsSync(this.config)) writeFileAtomic(this.config, (append) => append(stringify(settings)));
    // What a killed process had half written.
    for (const folder of [this.path, this.checkpoints]) {
      restoreReplaced(folder);
      for (const name of readdirSync(folder)) {
        if (temporary.test(name)) rmSync(join(folder, name), { recursive: true, force: true });
      }
    }
  }

  checkpointPath({ stage, step }: Position): string {
    return join(this.checkpoints, `stage${stage}-step${String(step).padStart(8, '0')}`);
  }

  /** The newest checkpoint, of one stage if given; at first, that of the run that this one goes on from. */
  latest(stage?: 1 | 2): { path: string; position: Position } | undefined {
    const names = this.checkpointNames().filter(
      (name) => stage === undefined || name.startsWith(`stage${stage}-`),
    );
    const newest = names.at(-1);
    if (newest === undefined) {
      const { origin } = this;
      const goesOn = origin !== undefined && this.checkpointNames().length === 0;
      return goesOn && (stage === undefined || stage === origin.position.stage) ? origin : undefined;
    }
    const path = join(this.checkpoints, newest);
    return { path, position: readPosition(path) };
  }

  /** What the finished model was trained to, if there is one. */
  finished(): Position | undefined {
    return isDirectory(this.model) ? readPosition(this.model) : undefined;
  }

  /** Deletes all but the newest checkpoints, and always keeps the newest of stage 1: stage 2 starts from it. */
  rotate(keep: number): void {
    const names = this.checkpointNames();
    const endOfStage1 = names.filter((name) => name.startsWith('stage1-')).at(-1);
    for (const name of names.slice(0, -keep)) {
      if (name !== endOfStage1) rmSync(join(this.checkpoints, name), { recursive: true, force: true });
    }
  }

  /** Names of all checkpoints, oldest first. */
  private checkpointNames(): string[] {
    if (!isDirectory(this.checkpoints)) return [];
    return readdirSync(this.checkpoints)
      .filter((name) => checkpointName.test(name))
      .sort();
  }

  appendMetrics(line: StepMetrics): void {
    appendFileSync(this.metrics, jsonLine(line));
  }

  appendLog(line: string): void {
    appendFileSync(this.log, `${line}\n`);
  }

  appendValidation(line: ValidationRecord): void {
    appendFileSync(this.validations, jsonLine(line));
  }

  /** All steps so far. @throws UserError for a line that is no JSON */
  readMetrics(): StepMetrics[] {
    return readLines(this.metrics) as StepMetrics[];
  }

  /** All validations on a set so far. @throws UserError for a line that is no JSON */
  readValidations(set: ValidationRecord['set']): ValidationRecord[] {
    return (readLines(this.validations) as ValidationRecord[]).filter((one) => one.set === set);
  }

  /** Forgets what was logged after a checkpoint: it is about to be done again. */
  cut({ stage, step }: Position): void {
    for (const path of [this.metrics, this.validations]) {
      const lines = readLines(path) as { stage: number; step: number }[];
      const kept = lines.filter((line) => line.stage < stage || (line.stage === stage && line.step <= step));
      if (existsSync(path)) writeFileAtomic(path, (append) => append(kept.map(jsonLine).join('')));
    }
  }

  noteParameters(stageName: string, counts: ParameterCounts): void {
    writeText(this.parameters, JSON.stringify({ ...this.readParameters(), [stageName]: counts }, null, 1));
  }

  /** By the names of the stages that began. */
  readParameters(): Record<string, ParameterCounts> {
    return existsSync(this.parameters) ? (readJson(this.parameters) as Record<string, ParameterCounts>) : {};
  }

  /** The settings of the run. @throws UserError if the folder holds none */
  readSettings(): Record<string, unknown> {
    if (!existsSync(this.config)) throw new UserError(`${this.path} holds no run: ${this.config} is missing`);
    return parse(readFileSync(this.config, 'utf8')) as Record<string, unknown>;
  }
}

const jsonLine = (line: object) => `${JSON.stringify(line)}\n`;

/** The lines of a file, none if it is missing; a last line that a killed process left unfinished is not counted. */
function readLines(path: string): unknown[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.slice(0, -1).map((line, i) => {
    try {
      return JSON.parse(line) as unknown;
    } catch (error) {
      throw new UserError(`${path}:${i + 1}: no JSON (${messageOf(error)}): delete the line`);
    }
  });
}

function readPosition(path: string): Position {
  const position = positionSchema.safeParse(readState(path));
  if (position.success) return position.data;
  throw new UserError(`${join(path, checkpointFiles.state)} is damaged: delete ${path} to resume before it`);
}

/** Names the first setting that differs, with both values. */
function firstDifference(before: unknown, after: unknown, path: string[] = []): string | undefined {
  if (isRecord(before) && isRecord(after)) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const difference = firstDifference(before[name], after[name], [...path, name]);
      if (difference !== undefined) return difference;
    }
    return undefined;
  }
  if (isDeepStrictEqual(before, after)) return undefined;
  return `${path.join('.')} (${JSON.stringify(before)} there, ${JSON.stringify(after)} now)`;
}
