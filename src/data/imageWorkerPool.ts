import { ThreadPool } from '../io/threadPool.js';
import type { Augmentation, Job, Loaded, Task, WorkerSettings } from './imageWorker.js';

/**
 * Worker threads that read, decode and resize images, or check them. A request is split over all of them and queued
 * inside them at once, so they go on while the main thread computes.
 */
export class ImageWorkerPool {
  readonly #threads: ThreadPool<Job, Loaded>;

  constructor(
    private readonly size: number,
    settings: WorkerSettings,
  ) {
    this.#threads = new ThreadPool({
      size,
      module: new URL('./imageWorker.js', import.meta.url),
      name: 'an image worker',
      settings,
    });
  }

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
  close(): Promise<void> {
    return this.#threads.close('the image workers were closed');
  }

  async #run(task: Task, rows: Int32Array, augmentation?: Augmentation): Promise<Loaded> {
    const partSize = Math.ceil(rows.length / this.size);
    const jobs: Promise<Loaded>[] = [];
    for (let start = 0; start < rows.length; start += partSize) {
      const end = start + partSize;
      const part = augmentation && { ...augmentation, pairs: augmentation.pairs.slice(start, end) };
      jobs.push(this.#threads.ask({ task, rows: rows.slice(start, end), augmentation: part }));
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
}
