import { Worker } from 'node:worker_threads';
import { messageOf, UserError } from '../errors.js';
import type { ImageRequest, Job, JobResult, WorkerSettings } from './imageWorker.js';

type Pixels = Float32Array<ArrayBuffer>;

/** A thread and how many of its jobs are unanswered: only these keep the process alive. */
interface Member {
  thread: Worker;
  pending: number;
}

interface PendingJob {
  member: Member;
  resolve: (pixels: Pixels) => void;
  reject: (error: Error) => void;
}

/**
 * Worker threads that read, decode and resize images. A request is split over all of them and queued inside them at
 * once, so they go on while the main thread computes. The threads start with the first request.
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
   * Preprocessed pixels of the image rows, augmented if so asked, float32 [rows, 3, resolution, resolution].
   *
   * @throws UserError naming file, line and id of an image that can't be read; Error when a worker died or the pool
   * was closed
   */
  async load({ rows, augment }: ImageRequest): Promise<Pixels> {
    if (this.#failure) throw this.#failure;
    while (this.#members.length < this.size) this.#members.push(this.#start());
    const partSize = Math.ceil(rows.length / this.size);
    const parts: Promise<Pixels>[] = [];
    for (let start = 0; start < rows.length; start += partSize) {
      const end = start + partSize;
      parts.push(
        this.#post({
          rows: rows.slice(start, end),
          augment: augment && { ...augment, pairs: augment.pairs.slice(start, end) },
        }),
      );
    }
    const loaded = await Promise.all(parts);
    if (loaded.length === 1) return loaded[0];
    const pixels = new Float32Array(rows.length * 3 * this.settings.resolution ** 2);
    let offset = 0;
    for (const part of loaded) {
      pixels.set(part, offset);
      offset += part.length;
    }
    return pixels;
  }

  /** Ends the threads at once; what is under way fails. */
  async close(): Promise<void> {
    this.#fail(new Error('the image workers were closed'));
    await Promise.all(this.#members.map(({ thread }) => thread.terminate()));
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

  #post(request: ImageRequest): Promise<Pixels> {
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
    if ('pixels' in result) pending.resolve(result.pixels);
    else pending.reject(result.isUserError ? new UserError(result.error) : new Error(result.error));
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
