import { availableParallelism } from 'node:os';
import { byteLengthOf, isFloat, type LazyTensor, readValues } from '../io/tensor.js';
import { ThreadPool } from '../io/threadPool.js';
import { sizeOf } from '../shape.js';
import type { Reading } from './floatThread.js';

/** Fewer bytes are read before a thread has started. */
const WORTH_THREADS = 64 << 20;

/** Weights come from the disk or the system's cache: more threads wait for the memory, not for a core. */
const MAX_THREADS = 4;

/** Large tensors and small ones take turns, so that two large ones are this close. */
const READ_AHEAD = 16;

/**
 * Reads float tensors of a checkpoint as float32, large checkpoints in threads: with fresh memory slow to be had and
 * halves to be widened, one core is busy for longer than the disk.
 */
export class FloatReader {
  /** how many tensors are worth asking for before the first of them has come */
  readonly readAhead: number;
  /** undefined for a small checkpoint */
  private readonly threads: ThreadPool<Reading, Float32Array> | undefined;

  /**
   * @param tensors what will be read
   * @param worthThreads bytes from which on threads read
   */
  constructor(tensors: Iterable<LazyTensor>, worthThreads = WORTH_THREADS) {
    let bytes = 0;
    for (const tensor of tensors) bytes += byteLengthOf(tensor);
    this.readAhead = bytes < worthThreads ? 1 : READ_AHEAD;
    if (bytes < worthThreads) return;
    this.threads = new ThreadPool({
      size: Math.min(availableParallelism(), MAX_THREADS),
      module: new URL('./floatThread.js', import.meta.url),
      name: 'a thread that reads weights',
    });
  }

  /**
   * A tensor's values.
   *
   * @throws UserError where the file was changed or cut since it was opened
   */
  async read(tensor: LazyTensor): Promise<Float32Array> {
    const { shape, dtype, place } = tensor;
    if (this.threads === undefined || place === undefined || !isFloat(dtype)) {
      return readValues(tensor) as Float32Array;
    }
    const count = sizeOf(shape);
    return this.threads.ask({ place, dtype, count }, count);
  }

  /** Ends the threads at once; what is under way fails. */
  async close(): Promise<void> {
    await this.threads?.close('the reader of weights was closed');
  }
}
