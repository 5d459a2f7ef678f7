import type { FilePlace } from '../io/readFile.js';
import { type Dtype, readFloats } from '../io/tensor.js';
import { answerRequests } from '../io/threadPool.js';

/** A tensor that a thread is to read. */
export interface Reading {
  place: FilePlace;
  dtype: Dtype;
  count: number;
}

answerRequests<Reading, Float32Array<ArrayBuffer>>(({ place, dtype, count }) => {
  const values = readFloats(place, dtype, count);
  return [values, [values.buffer]];
});
