/** Consecutive rows. */
export interface Range {
  begin: number;
  /** the first row after them */
  end: number;
}

/** All rows in parts of `size`, which may be Infinity; the last may be smaller. */
export function rangesOf(count: number, size: number): Range[] {
  if (size >= count) return count === 0 ? [] : [{ begin: 0, end: count }];
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => ({
    begin: i * size,
    end: Math.min(count, (i + 1) * size),
  }));
}

/** All rows in parts of almost the same size, at most `size`, their number a multiple of `multiple` if there are enough rows. */
export function evenRanges(count: number, size: number, multiple: number): Range[] {
  const parts = Math.min(count, multiple * Math.max(1, Math.ceil(count / (multiple * size))));
  const begin = (part: number) => Math.floor((part * count) / parts);
  return Array.from({ length: parts }, (_, part) => ({ begin: begin(part), end: begin(part + 1) }));
}

/** The rows from `begin` to below `end` in batches, of which the last may be smaller. */
export function* rowBatches(begin: number, end: number, batchSize: number): Generator<Int32Array> {
  for (let first = begin; first < end; first += batchSize) {
    yield Int32Array.from({ length: Math.min(batchSize, end - first) }, (_, i) => first + i);
  }
}

/**
 * Features [rows, width] that are computed range by range.
 *
 * @param atOnce how many ranges are under way at a time; by default one follows the other
 */
export async function inParts(
  ranges: readonly Range[],
  width: number,
  encode: (begin: number, end: number) => Promise<Float32Array>,
  atOnce = 1,
): Promise<Float32Array> {
  const features = new Float32Array((ranges.at(-1)?.end ?? 0) * width);
  const waiting = [...ranges];
  const work = async () => {
    try {
      for (let range = waiting.shift(); range !== undefined; range = waiting.shift()) {
        features.set(await encode(range.begin, range.end), range.begin * width);
      }
    } finally {
      // After a failure the others end with what they are at.
      waiting.length = 0;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return features;
}

/** A copy of the chosen rows of a matrix [rows, width], in the order given. */
export function gatherRows(matrix: Float32Array, rows: ArrayLike<number>, width: number): Float32Array {
  const gathered = new Float32Array(rows.length * width);
  for (let i = 0; i < rows.length; i++) {
    gathered.set(matrix.subarray(rows[i] * width, (rows[i] + 1) * width), i * width);
  }
  return gathered;
}
