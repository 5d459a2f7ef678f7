import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options: { type: 'minor' }) => void;

/**
 * Frees what the thread made lately and no longer holds, in about 0.1 ms. A decoded picture lies outside the heap, so
 * by itself the collector would wait until a hundred of them lie there; each new one would be written to memory that
 * the system has to provide page by page, which takes a third of the time of decoding.
 */
export function collectGarbage(): void {
  gc({ type: 'minor' });
}
