import { Worker } from 'node:worker_threads';
import { messageOf } from '../errors.js';
import type { Augmentation, Job, JobResult, Loaded, Task, WorkerSettings } from './imageWorker.js';

/** A thread and how many of its jobs are unanswered: only these keep the process alive. */
interface Member {
  thread: Worker;
  pending: number;
}

interface PendingJob {
  member: Member;
  resolve: (loaded: Loaded) => void;
  reject: (error: Error) => void;
}

/**
 * Worker threads that read, decode and resize images, or check them. A request is split over all of them and queued
 * inside them at once, so they go on while the main thread computes. The threads start with the first request.
 */
export class ImageWorkerPool {
  readonly #members: Member[] = [];
  readonly #jobs = new Map<number, PendingJob>();
  #jobCount = 0;
  #failure: Error | undefined;

  constructor(
    private readonly size: number,
    private readonly settings: WorkerSettings,
  ) {}

  /**
   * Preprocessed pixels of these image rows, augmented if so asked, and which of them can't be read.
   *
   * @throws Error when a worker died or the pool was closed
   */
  async load(rows: Int32Array, augmentation?: Augmentation): Promise<Pick<Loaded, 'pixels' | 'failures'>> {
    return this.#run('pixels', rows, augmentation);
  }

  /**
   * Hashes of the bytes of these rows, and which can't be read or, where they are decoded, not be decoded.
   *
   * @throws Error when a worker died or the pool was closed
   */
  async check(rows: Int32Array, decode: boolean): Promise<Pick<Loaded, 'hashes' | 'failures'>> {
    return this.#run(decode ? 'check' : 'hash', rows);
  }

  /** Ends the threads at once; what is under way fails. */
  async close(): Promise<void> {
    this.#fail(new Error('the image workers were closed'));
    await Promise.all(this.#members.map(({ thread }) => thread.terminate()));
  }

  async #run(task: Task, rows: Int32Array, augmentation?: Augmentation): Promise<Loaded> {
    if (this.#failure) throw this.#failure;
    while (this.#members.length < this.size) this.#members.push(this.#start());
    const partSize = Math.ceil(rows.length / this.size);
    const jobs: Promise<Loaded>[] = [];
    for (let start = 0; start < rows.length; start += partSize) {
      const end = start + partSize;
      const part = augmentation && { ...augmentation, pairs: augmentation.pairs.slice(start, end) };
      jobs.push(this.#post({ task, rows: rows.slice(start, end), augmentation: part }));
    }
    const parts = await Promise.all(jobs);
    if (parts.length === 1) return parts[0];
    const total = (name: 'pixels' | 'hashes') => parts.reduce((sum, part) => sum + part[name].length, 0);
    const pixels = new Float32Array(total('pixels'));
    const hashes = new Uint32Array(total('hashes'));
    const failures = new Map<number, string>();
    const done = { pixels: 0, hashes: 0 };
    for (const [i, part] of parts.entries()) {
      pixels.set(part.pixels, done.pixels);
      hashes.set(part.hashes, done.hashes);
      done.pixels += part.pixels.length;
      done.hashes += part.hashes.length;
      for (const [place, message] of part.failures) failures.set(i * partSize + place, message);
    }
    return { pixels, hashes, failures };
  }

  #start(): Member {
    const thread = new Worker(new URL('./imageWorker.js', import.meta.url), {
      workerData: this.settings,
      // Flags of the process, like --input-type, need not suit a thread.
      execArgv: [],
    });
    thread.unref();
    thread.on('message', (result: JobResult) => this.#settle(result));
    thread.on('error', (error) => this.#fail(new Error(`an image worker failed: ${messageOf(error)}`)));
    thread.on('exit', (code) => this.#fail(new Error(`an image worker ended with exit code ${code}`)));
    return { thread, pending: 0 };
  }

  #post(request: Omit<Job, 'job'>): Promise<Loaded> {
    const job = this.#jobCount++;
    const member = this.#members[job % this.size];
    if (member.pending++ === 0) member.thread.ref();
    return new Promise((resolve, reject) => {
      this.#jobs.set(job, { member, resolve, reject });
      member.thread.postMessage({ job, ...request } satisfies Job);
    });
  }

  #settle(result: JobResult): void {
    const pending = this.#jobs.get(result.job);
    if (!pending) return;
    this.#jobs.delete(result.job);
    if (--pending.member.pending === 0) pending.member.thread.unref();
    if ('pixels' in result) pending.resolve(result);
    else pending.reject(new Error(result.error));
  }

  /** Without one of its threads the pool gives no complete batch: everything fails, with the first cause. */
  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const { thread } of this.#members) thread.unref();
    for (const { reject } of this.#jobs.values()) reject(error);
    this.#jobs.clear();
  }
}
