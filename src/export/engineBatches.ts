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
 * @param run results of a batch of `count` rows, [count, …]
 * @returns the results of all rows, in their order
 */
export async function runInBatches<T extends Float32Array | BigInt64Array>(
  rows: T,
  n: number,
  { min, max }: Pick<SizeRange, 'min' | 'max'>,
  run: (batch: T, count: number) => Promise<Float32Array>,
): Promise<Float32Array> {
  const size = rows.length / n;
  const results: Float32Array[] = [];
  for (let begin = 0; begin < n; begin += max) {
    const count = Math.min(max, n - begin);
    const given = rows.subarray(begin * size, (begin + count) * size) as T;
    const filled = Math.max(count, min);
    const result = await run(withLastRepeated(given, count, filled), filled);
    results.push(result.subarray(0, (result.length / filled) * count));
  }
  if (results.length === 1) return results[0];
  const all = new Float32Array(results.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const result of results) {
    all.set(result, end);
    end += result.length;
  }
  return all;
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
