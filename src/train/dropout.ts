/**
 * Factors that drop values with the given probability: 0, or 1 / (1 − rate) so that the mean is kept. A pure function
 * of the key and the position: resuming a run, or another engine, draws the same.
 *
 * @param rate probability of dropping, in [0, 1)
 * @param key integers that name the draw: seed, step and site
 * @param offset position of the first factor: a part of a batch draws what the whole batch does
 */
export function dropoutFactors(
  length: number,
  rate: number,
  key: readonly number[],
  offset = 0,
): Float32Array {
  const factors = new Float32Array(length);
  const kept = 1 / (1 - rate);
  const threshold = Math.round(rate * 2 ** 32);
  const state = key.reduce((hash, part) => mix(Math.imul(hash, 0x9e3779b1) ^ part), 0x2545f491);
  for (let i = 0; i < length; i++) {
    if (mix(state + Math.imul(offset + i, 0x9e3779b1)) >>> 0 >= threshold) factors[i] = kept;
  }
  return factors;
}

/** A 32-bit mixing function in which every input bit reaches every output bit (multiply and shift, twice). */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}
