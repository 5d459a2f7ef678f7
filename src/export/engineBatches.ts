import type { SessionInput, Sessions } from '../engine/onnx/sessions.js';
import { evenRanges, inParts, rangesOf } from '../rows.js';

/** The least, the usual and the largest size of a dimension, for which TensorRT builds an engine. */
export interface SizeRange {
  min: number;
  opt: number;
  max: number;
}

/** Sizes that a tower's engine takes: rows of a batch, and tokens of a text. */
export interface EngineShapes {
  batch: SizeRange;
  textLength: SizeRange;
}

/**
 * Runs rows in batches that an engine takes: no more than `max` at a time, and where fewer than `min` are left, the
 * last one again in the places that are free.
 *
 * @param rows [n, …], row major
 * @param run results of a batch of `count` rows, [count, width]
 * @param atOnce how many batches may run at a time; where it is more than one, each takes about the same
 * @returns the results of all rows, in their order, [n, width]
 */
export function runInBatches<T extends Float32Array | BigInt64Array>(
  rows: T,
  n: number,
  { min, max }: Pick<SizeRange, 'min' | 'max'>,
  width: number,
  run: (batch: T, count: number) => Promise<Float32Array>,
  atOnce = 1,
): Promise<Float32Array> {
  const size = rows.length / n;
  const encode = async (begin: number, end: number) => {
    const count = end - begin;
    const filled = Math.max(count, min);
    const batch = withLastRepeated(rows.subarray(begin * size, end * size) as T, count, filled);
    return (await run(batch, filled)).subarray(0, count * width);
  };
  return inParts(atOnce === 1 ? rangesOf(n, max) : evenRanges(n, max, atOnce), width, encode, atOnce);
}

/** Runs an input [n, …] in batches as `runInBatches`, as many at a time as there are sessions. */
export function runDivided(
  sessions: Sessions,
  input: SessionInput,
  limits: Pick<SizeRange, 'min' | 'max'>,
  width: number,
): Promise<Float32Array> {
  const [n, ...rest] = input.dims;
  const run = (data: SessionInput['data'], count: number) =>
    sessions.run({ ...input, data, dims: [count, ...rest] } as SessionInput);
  return runInBatches(input.data, n, limits, width, run, sessions.count);
}

/** Token ids [n, length] with zeros behind, [n, max(length, least)]. */
export function paddedTexts(ids: Int32Array, n: number, length: number, least: number): Int32Array {
  if (length >= least) return ids;
  const padded = new Int32Array(n * least);
  for (let i = 0; i < n; i++) padded.set(ids.subarray(i * length, (i + 1) * length), i * least);
  return padded;
}

function withLastRepeated<T extends Float32Array | BigInt64Array>(rows: T, n: number, count: number): T {
  if (n === count) return rows;
  const size = rows.length / n;
  const filled = new (rows.constructor as new (length: number) => T)(count * size);
  for (let i = 0; i < count; i++) {
    const row = Math.min(i, n - 1);
    filled.set(rows.subarray(row * size, (row + 1) * size) as never, i * size);
  }
  return filled;
}
