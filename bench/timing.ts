/** Seconds of repeated runs, after two that are not counted: the first ones compile and touch memory anew. */
export async function timedRuns(count: number, run: () => Promise<unknown>): Promise<number[]> {
  const seconds: number[] = [];
  for (let i = -2; i < count; i++) {
    const began = performance.now();
    await run();
    if (i >= 0) seconds.push((performance.now() - began) / 1000);
  }
  return seconds;
}

/** Of an even number of values, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
