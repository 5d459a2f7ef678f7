import { createReadStream } from 'node:fs';
import { UserError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic.js';
import { type JsonHandler, JsonStream } from '../../io/jsonStream.js';

/** What a prediction file says beside the predictions. */
export interface PredictionHeader {
  model_name: string;
  dataset_name: string;
  num_trainable_params: number;
  num_params: number;
  num_visual_params: number;
  num_backbone_params: number;
  n_shot: number;
  rnd_seeds: number[];
}

/** Text gathered before it is written. */
const CHUNK_LENGTH = 1 << 20;

/**
 * Writes a dataset's prediction file as ELEVATER's evaluation server takes it: the header, and
 * `"predictions": [[[p…]…]]`, one round of rows of probabilities with six decimals.
 *
 * @param probabilities [rows, classes]
 * @param order the row of `probabilities` that each row of the file has; by default all in their order
 */
export function writePredictionFile(
  path: string,
  header: PredictionHeader,
  probabilities: Float32Array,
  classCount: number,
  order: Int32Array | undefined,
): void {
  const rows = probabilities.length / classCount;
  writeFileAtomic(path, (append) => {
    let text = `${JSON.stringify(header).slice(0, -1)},"predictions":[[`;
    for (let i = 0; i < rows; i++) {
      const row = order?.[i] ?? i;
      const values = probabilities.subarray(row * classCount, (row + 1) * classCount);
      text += `${i === 0 ? '' : ','}[${Array.from(values, sixDecimals).join(',')}]`;
      if (text.length < CHUNK_LENGTH) continue;
      append(text);
      text = '';
    }
    append(`${text}]]}\n`);
  });
}

function sixDecimals(value: number): string {
  return String(Math.round(value * 1e6) / 1e6);
}

/** Told what a prediction file holds, row by row. */
export interface PredictionVisitor {
  /** Of fields other than predictions; lists of numbers and scalars arrive as they are. */
  field(name: string, value: unknown): void;
  /** A row of a round; the array is used again. */
  row(round: number, values: readonly unknown[]): void;
  /** A prediction object ends, with so many rounds. */
  end(rounds: number): void;
}

/** Names the levels of a prediction object and turns JSON's events into rows. */
export function predictionEvents(visitor: PredictionVisitor, fail: (what: string) => Error): JsonHandler {
  /** 0: before or after the object; 1: in it; 2: in a field's list, or the list of rounds; 3: rows; 4: a row */
  let depth = 0;
  let name = '';
  let list: unknown[] = [];
  let rounds = 0;
  const inPredictions = () => name === 'predictions';
  return {
    begin(kind) {
      if (kind !== (depth === 0 ? 'object' : 'array')) {
        throw fail(
          depth === 0 ? 'expected an object with predictions' : `${name}: an object is not expected here`,
        );
      }
      depth++;
      if (depth > (inPredictions() ? 4 : 2)) throw fail(`${name || 'a field'} is nested too deep`);
      if (depth === 2 || depth === 4) list = [];
      if (depth === 2 && inPredictions()) rounds = 0;
    },
    end() {
      if (depth === 4) visitor.row(rounds, list);
      else if (depth === 3) rounds++;
      else if (depth === 2 && !inPredictions()) visitor.field(name, list);
      else if (depth === 1) {
        visitor.end(rounds);
        name = '';
        rounds = 0;
      }
      depth--;
    },
    key(key) {
      name = key;
    },
    scalar(value) {
      if (depth === 1) visitor.field(name, value);
      else if ((inPredictions() && depth !== 4) || depth === 0)
        throw fail(`expected [[[p, …], …]], found ${value}`);
      else list.push(value);
    },
  };
}

/** Feeds a stream to a JSON handler. @throws UserError where it can't be read or is no JSON */
export async function parseJsonStream(
  chunks: AsyncIterable<Uint8Array>,
  handler: JsonHandler,
  path: string,
): Promise<void> {
  const parser = new JsonStream(handler);
  try {
    for await (const chunk of chunks) parser.push(chunk);
    parser.finish();
  } catch (error) {
    if (error instanceof SyntaxError) throw new UserError(`${path} is no JSON: ${error.message}`);
    throw error;
  }
}

/**
 * Reads the probabilities of a prediction file of one round, in the file's order of rows: Float32Array [rows, classes].
 *
 * @throws UserError where it is no such file, or has other rows or classes than expected
 */
export async function readProbabilities(
  path: string,
  rows: number,
  classCount: number,
): Promise<Float32Array> {
  const probabilities = new Float32Array(rows * classCount);
  let row = 0;
  const fail = (what: string) => new UserError(`${path}: ${what}`);
  const visitor: PredictionVisitor = {
    field() {},
    row(_, values) {
      if (values.length !== classCount || row === rows) {
        throw fail(`expected ${rows} rows of ${classCount} probabilities; row ${row} has ${values.length}`);
      }
      probabilities.set(values as number[], row++ * classCount);
    },
    end() {},
  };
  await parseJsonStream(createReadStream(path), predictionEvents(visitor, fail), path);
  if (row !== rows) throw fail(`expected ${rows} rows of probabilities, found ${row}`);
  return probabilities;
}
