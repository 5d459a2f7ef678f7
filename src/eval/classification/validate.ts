import { createReadStream } from 'node:fs';
import { UserError } from '../../errors.js';
import { openZipFile } from '../../io/zipFile.js';
import { benchmarks, elevaterNames } from './benchmarks.js';
import { type PredictionVisitor, parseJsonStream, predictionEvents } from './predictions.js';
import { submissionMember } from './submission.js';

/** What a validator found: one line for each dataset, and what is wrong. */
export interface Validation {
  datasets: string[];
  problems: string[];
}

/** How far a row of probabilities with six decimals may be from 1. */
const SUM_TOLERANCE = 1e-3;

const COUNTS = ['num_trainable_params', 'num_params', 'num_visual_params', 'num_backbone_params'];

/**
 * Checks a prediction file (`<dataset>.json`) or a submission (`all_predictions.zip`) by the rules of ELEVATER's server:
 * fields, one round of rows for each seed, as many rows and classes as the dataset has, probabilities from 0 to 1 that
 * sum to 1, in a submission each of the twenty datasets once. The file is streamed.
 *
 * @throws UserError where the file can't be read or is something else altogether
 */
export async function validatePredictions(path: string): Promise<Validation> {
  const found: Validation = { datasets: [], problems: [] };
  const fail = (what: string) => new UserError(`${path}: ${what}`);
  if (!path.endsWith('.zip')) {
    const checker = new PredictionChecker(found, false);
    await parseJsonStream(createReadStream(path), predictionEvents(checker, fail), path);
    return found;
  }
  const { name, data } = openZipFile(path);
  if (name !== submissionMember) throw fail(`holds ${name}, expected ${submissionMember}`);
  const checker = new PredictionChecker(found, true);
  await parseJsonStream(data, insideData(predictionEvents(checker, fail), fail), path);
  const missing = elevaterNames.filter((one) => !checker.seen.has(one));
  if (missing.length > 0) found.problems.push(`datasets are missing: ${missing.join(', ')}`);
  return found;
}

/** Hands on what stands in the list "data" of an object that holds nothing else. */
function insideData(
  inner: ReturnType<typeof predictionEvents>,
  fail: (what: string) => Error,
): ReturnType<typeof predictionEvents> {
  let depth = 0;
  const expected = 'expected {"data": [{…}, …]}';
  return {
    begin(kind) {
      if (depth < 2 && kind !== (depth === 0 ? 'object' : 'array')) throw fail(expected);
      if (depth++ >= 2) inner.begin(kind);
    },
    end() {
      if (--depth >= 2) inner.end();
    },
    key(name) {
      if (depth >= 2) inner.key(name);
      else if (name !== 'data') throw fail(`${expected}, found the field ${name}`);
    },
    scalar(value) {
      if (depth < 2) throw fail(expected);
      inner.scalar(value);
    },
  };
}

class PredictionChecker implements PredictionVisitor {
  readonly seen = new Set<string>();
  private fields = new Map<string, unknown>();
  /** rows of each round, and classes of the first row */
  private rows: number[] = [];
  private classes: number | undefined;
  private readonly complaints = new Map<string, number>();

  constructor(
    private readonly found: Validation,
    private readonly isSubmission: boolean,
  ) {}

  field(name: string, value: unknown): void {
    this.fields.set(name, value);
  }

  row(round: number, values: readonly unknown[]): void {
    const row = this.rows[round] ?? 0;
    this.rows[round] = row + 1;
    this.classes ??= values.length;
    const where = `row ${row}`;
    if (values.length !== this.classes) {
      this.complain(
        'rows of different length',
        `${where} has ${values.length} values, others ${this.classes}`,
      );
    }
    let sum = 0;
    for (const value of values) {
      if (typeof value !== 'number' || !(value >= 0 && value <= 1)) {
        this.complain('values that are no probabilities', `${where} holds ${JSON.stringify(value)}`);
        return;
      }
      sum += value;
    }
    if (Math.abs(sum - 1) > SUM_TOLERANCE)
      this.complain('rows that do not sum to 1', `${where} sums to ${Number(sum.toFixed(6))}`);
  }

  end(rounds: number): void {
    const name = this.fields.get('dataset_name');
    this.checkFields(rounds);
    if (typeof name === 'string') this.checkDataset(name);
    const title = typeof name === 'string' ? name.slice(0, 200) : 'a dataset without a name';
    for (const [what, count] of this.complaints) {
      this.found.problems.push(`${title}: ${what}${count > 1 ? `, ${count} in all` : ''}`);
    }
    this.found.datasets.push(`${title}: ${this.rows.join(', ') || 0} rows of ${this.classes ?? 0} classes`);
    this.fields = new Map();
    this.rows = [];
    this.classes = undefined;
    this.complaints.clear();
  }

  private checkFields(rounds: number): void {
    const complain = (what: string) => this.complaints.set(what, 1);
    const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    for (const name of ['model_name', 'dataset_name']) {
      if (typeof this.fields.get(name) !== 'string') complain(`${name}: expected a text`);
    }
    for (const name of COUNTS) {
      if (!isCount(this.fields.get(name))) complain(`${name}: expected a number of parameters`);
    }
    if (this.fields.get('n_shot') !== 0) complain('n_shot: expected 0');
    const seeds = this.fields.get('rnd_seeds');
    if (!Array.isArray(seeds) || !seeds.every(Number.isSafeInteger)) {
      complain('rnd_seeds: expected a list of whole numbers');
    } else if (rounds > 0 && seeds.length !== rounds)
      complain(`predictions: ${rounds} rounds for ${seeds.length} rnd_seeds`);
    if (rounds === 0) complain('predictions: expected [[[p, …], …]], found none');
  }

  private checkDataset(name: string): void {
    const benchmark = benchmarks.get(name);
    if (this.isSubmission && !elevaterNames.includes(name)) {
      this.complaints.set(`is none of the ${elevaterNames.length} datasets of a submission`, 1);
    }
    if (this.seen.has(name)) this.complaints.set('occurs twice', 1);
    this.seen.add(name);
    if (benchmark === undefined) return;
    for (const rows of this.rows) {
      if (rows !== benchmark.images) {
        this.complaints.set(`has ${rows ?? 0} rows, the dataset ${benchmark.images} test pictures`, 1);
      }
    }
    if (this.classes !== undefined && this.classes !== benchmark.classes) {
      this.complaints.set(`rows have ${this.classes} values, the dataset ${benchmark.classes} classes`, 1);
    }
  }

  /** Keeps the first complaint of a kind as an example, and counts the others. */
  private complain(kind: string, example: string): void {
    const known = [...this.complaints.keys()].find((what) => what.startsWith(kind));
    const what = known ?? `${kind} (${example})`;
    this.complaints.set(what, (this.complaints.get(what) ?? 0) + 1);
  }
}
