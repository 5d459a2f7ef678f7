import { parentPort, type TransferListItem, Worker } from 'node:worker_threads';
import { messageOf, UserError } from '../errors.js';

/** A thread and the cost of its requests that are unanswered: only these keep the process alive. */
interface Member {
  thread: Worker;
  pending: number;
}

interface Waiting<Result> {
  member: Member;
  cost: number;
  resolve: (result: Result) => void;
  reject: (error: Error) => void;
}

interface Question<Request> {
  id: number;
  request: Request;
}

type Answer<Result> = { id: number } & ({ result: Result } | { error: string; isForeseen: boolean });

export interface ThreadPoolOptions {
  size: number;
  /** the module of a thread, which calls `answerRequests` */
  module: URL;
  /** what a thread is called in messages: `an image worker` */
  name: string;
  /** workerData of each thread */
  settings?: unknown;
}

/**
 * Threads that answer requests, each of them one after the other in the order they came. One starts when a request finds
 * all others busy. Without one of them everything fails, with the first cause.
 */
export class ThreadPool<Request, Result> {
  readonly #members: Member[] = [];
  readonly #waiting = new Map<number, Waiting<Result>>();
  #questions = 0;
  #failure: Error | undefined;

  constructor(private readonly options: ThreadPoolOptions) {}

  /**
   * Asks the thread with the least to do.
   *
   * @param cost of the request beside others
   * @param handedOver memory of the request that the thread gets itself, not a copy of
   * @throws UserError where the thread throws one, or the system's refusal; Error where it throws another, when a thread
   * died or the pool was closed
   */
  async ask(request: Request, cost = 1, handedOver: readonly TransferListItem[] = []): Promise<Result> {
    if (this.#failure) throw this.#failure;
    const isFull = this.#members.length === this.options.size;
    if (!isFull && this.#members.every(({ pending }) => pending > 0)) this.#members.push(this.#start());
    const member = this.#members.reduce((least, other) => (other.pending < least.pending ? other : least));
    if (member.pending === 0) member.thread.ref();
    member.pending += cost;
    const id = this.#questions++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { member, cost, resolve, reject });
      member.thread.postMessage({ id, request } satisfies Question<Request>, handedOver);
    });
  }

  /** Ends the threads at once. @param reason what is under way, and what follows, fails with */
  async close(reason: string): Promise<void> {
    this.#fail(new Error(reason));
    await Promise.all(this.#members.map(({ thread }) => thread.terminate()));
  }

  #start(): Member {
    const { module, name, settings } = this.options;
    // Flags of the process, like --input-type, need not suit a thread.
    const thread = new Worker(module, { workerData: settings, execArgv: [] });
    thread.unref();
    thread.on('message', (answer: Answer<Result>) => this.#settle(answer));
    thread.on('error', (error) => this.#fail(new Error(`${name} failed: ${messageOf(error)}`)));
    thread.on('exit', (code) => this.#fail(new Error(`${name} ended with exit code ${code}`)));
    return { thread, pending: 0 };
  }

  #settle(answer: Answer<Result>): void {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    this.#waiting.delete(answer.id);
    const { member, cost, resolve, reject } = waiting;
    member.pending -= cost;
    if (member.pending === 0) member.thread.unref();
    if ('result' in answer) resolve(answer.result);
    else reject(answer.isForeseen ? new UserError(answer.error) : new Error(answer.error));
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const { thread } of this.#members) thread.unref();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/**
 * The other end of a pool: answers its requests in this thread.
 *
 * @param run gives a result and the memory of it that is handed over, not copied
 */
export function answerRequests<Request, Result>(
  run: (request: Request) => [Result, TransferListItem[]] | Promise<[Result, TransferListItem[]]>,
): void {
  const port = parentPort!;
  const answer = async ({ id, request }: Question<Request>) => {
    try {
      const [result, handedOver] = await run(request);
      port.postMessage({ id, result } satisfies Answer<Result>, handedOver);
    } catch (error) {
      const isForeseen = error instanceof UserError || (error instanceof Error && 'syscall' in error);
      port.postMessage({ id, error: messageOf(error), isForeseen } satisfies Answer<Result>);
    }
  };
  let last = Promise.resolve();
  port.on('message', (question: Question<Request>) => {
    last = last.then(() => answer(question));
  });
}
