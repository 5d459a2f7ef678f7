import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf, UserError } from '../errors.js';
import { byteLengthOf, isFloat, type LazyTensor, readValues } from '../io/tensor.js';
import { sizeOf } from '../shape.js';
import type { Reading, ReadingResult } from './floatThread.js';

/** Fewer bytes are read before a thread has started. */
const WORTH_THREADS = 64 << 20;

/** Weights come from the disk or the system's cache: more threads wait for the memory, not for a core. */
const MAX_THREADS = 4;

/** Large tensors and small ones take turns, so that two large ones are this close. */
const READ_AHEAD = 16;

interface Member {
  thread: Worker;
  /** values that it has been asked for and has not given yet */
  pending: number;
}

interface Waiting {
  member: Member;
  count: number;
  resolve: (values: Float32Array) => void;
  reject: (error: Error) => void;
}

/**
 * Reads float tensors of a checkpoint as float32, large checkpoints in threads: with fresh memory slow to be had and
 * halves to be widened, one core is busy for longer than the disk. The threads start with the first tensor.
 */
export class FloatReader {
  /** how many tensors are worth asking for before the first of them has come */
  readonly readAhead: number;
  private readonly threadCount: number;
  private readonly members: Member[] = [];
  private readonly waiting = new Map<number, Waiting>();
  private readings = 0;
  private failure: Error | undefined;

  /**
   * @param tensors what will be read
   * @param worthThreads bytes from which on threads read
   */
  constructor(tensors: Iterable<LazyTensor>, worthThreads = WORTH_THREADS) {
    let bytes = 0;
    for (const tensor of tensors) bytes += byteLengthOf(tensor);
    this.threadCount = bytes < worthThreads ? 0 : Math.min(availableParallelism(), MAX_THREADS);
    this.readAhead = this.threadCount === 0 ? 1 : READ_AHEAD;
  }

  /**
   * A tensor's values.
   *
   * @throws UserError where the file was changed or cut since it was opened
   */
  async read(tensor: LazyTensor): Promise<Float32Array> {
    const { shape, dtype, place } = tensor;
    if (this.threadCount === 0 || place === undefined || !isFloat(dtype)) {
      return readValues(tensor) as Float32Array;
    }
    if (this.failure) throw this.failure;
    while (this.members.length < this.threadCount) this.members.push(this.start());
    const count = sizeOf(shape);
    const member = this.members.reduce((least, other) => (other.pending < least.pending ? other : least));
    member.pending += count;
    const id = this.readings++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { member, count, resolve, reject });
      member.thread.postMessage({ id, place, dtype, count } satisfies Reading);
    });
  }

  /** Ends the threads at once; what is under way fails. */
  async close(): Promise<void> {
    this.fail(new Error('the reader was closed'));
    await Promise.all(this.members.map(({ thread }) => thread.terminate()));
  }

  private start(): Member {
    // Flags of the process, like --input-type, need not suit a thread.
    const thread = new Worker(new URL('./floatThread.js', import.meta.url), { execArgv: [] });
    thread.on('message', (result: ReadingResult) => {
      const waiting = this.waiting.get(result.id);
      if (waiting === undefined) return;
      this.waiting.delete(result.id);
      waiting.member.pending -= waiting.count;
      if ('values' in result) waiting.resolve(result.values);
      else waiting.reject(new UserError(result.error));
    });
    thread.on('error', (error) => this.fail(new Error(`a thread that reads weights: ${messageOf(error)}`)));
    thread.on('exit', (code) => this.fail(new Error(`a thread that reads weights ended with code ${code}`)));
    return { thread, pending: 0 };
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.waiting.values()) reject(this.failure);
    this.waiting.clear();
  }
}
