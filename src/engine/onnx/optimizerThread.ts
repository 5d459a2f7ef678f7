import { answerRequests } from '../../io/threadPool.js';
import type { AdamWFactors } from '../engine.js';
import { updateAdamW } from './adamw.js';

/** Weight, gradient, first and second moment of one parameter. */
export type ParameterArrays = Float32Array<ArrayBuffer>[];

/** Parameters that a thread is to update. */
export interface Share {
  arrays: ParameterArrays[];
  factors: AdamWFactors[];
}

answerRequests<Share, ParameterArrays[]>(({ arrays, factors }) => {
  for (const [i, [weight, gradient, first, second]] of arrays.entries()) {
    updateAdamW(weight, gradient, first, second, factors[i]);
  }
  return [arrays, arrays.flat().map(({ buffer }) => buffer)];
});
