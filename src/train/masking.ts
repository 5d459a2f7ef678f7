import { type ModelConfig, patchCount } from '../model/config.js';
import { Random } from '../random.js';

/** How many patches of a picture stay when a share of them is masked, as the reference counts them. */
export function keptPatchCount(config: ModelConfig, maskRatio: number): number {
  return Math.trunc(patchCount(config) * (1 - maskRatio));
}

/**
 * FLIP's choice of patches (Li et al., 2023): for each sample a random set, a pure function of seed, step and sample.
 *
 * @param first the place in the batch of the first of these n samples
 * @returns int32 [n, kept]: places among the n · tokens tokens, each picture's class token first
 */
export function keptTokens(
  config: ModelConfig,
  maskRatio: number,
  { seed, step, first, n }: { seed: number; step: number; first: number; n: number },
): Int32Array {
  const patches = patchCount(config);
  const kept = keptPatchCount(config, maskRatio);
  const places = new Int32Array(n * kept);
  for (let i = 0; i < n; i++) {
    const order = Int32Array.from({ length: patches }, (_, patch) => i * (patches + 1) + 1 + patch);
    new Random(seed, 'patches', step, first + i).shuffle(order);
    places.set(order.subarray(0, kept), i * kept);
  }
  return places;
}
