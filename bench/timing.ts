/**
 * Seconds of repeated runs, after some that are not counted: the first ones compile and touch memory anew.
 *
 * @param run told how many runs were before it
 */
export async function timedRuns(
  count: number,
  run: (i: number) => Promise<unknown>,
  warm = 2,
): Promise<number[]> {
  const seconds: number[] = [];
  for (let i = 0; i < warm + count; i++) {
    const began = performance.now();
    await run(i);
    if (i >= warm) seconds.push((performance.now() - began) / 1000);
  }
  return seconds;
}

/** Of an even number of values, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
