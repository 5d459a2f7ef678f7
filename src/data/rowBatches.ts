/** The rows from `begin` to below `end` in batches, of which the last may be smaller. */
export function* rowBatches(begin: number, end: number, batchSize: number): Generator<Int32Array> {
  for (let first = begin; first < end; first += batchSize) {
    yield Int32Array.from({ length: Math.min(batchSize, end - first) }, (_, i) => first + i);
  }
}
