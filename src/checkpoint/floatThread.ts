import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.js';
import type { FilePlace } from '../io/readFile.js';
import { type Dtype, readFloats } from '../io/tensor.js';

/** A tensor that a thread is to read. */
export interface Reading {
  id: number;
  place: FilePlace;
  dtype: Dtype;
  count: number;
}

export type ReadingResult = { id: number } & ({ values: Float32Array } | { error: string });

parentPort?.on('message', ({ id, place, dtype, count }: Reading) => {
  try {
    const values = readFloats(place, dtype, count);
    parentPort?.postMessage({ id, values } satisfies ReadingResult, [values.buffer]);
  } catch (error) {
    parentPort?.postMessage({ id, error: messageOf(error) } satisfies ReadingResult);
  }
});
