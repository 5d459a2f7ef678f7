import { availableParallelism } from 'node:os';
import * as ort from 'onnxruntime-node';
import { ThreadPool } from '../../io/threadPool.js';
import { type ProviderOptions, rowsAtOnce, sessionOptions } from './sessionOptions.js';
import type { SessionSettings } from './sessionThread.js';

/** A graph with one input and one output of float32. */
export interface GraphFile {
  path: string;
  input: string;
  output: string;
}

/** What a graph is fed: the elements of a tensor, row major. */
export type SessionInput = { dims: readonly number[] } & (
  | { type: 'float32'; data: Float32Array }
  | { type: 'int64'; data: BigInt64Array }
);

/** Sessions of one graph. They load it when it runs first. */
export interface Sessions {
  /** how many inputs they run at a time */
  readonly count: number;
  /** rows of a matrix that each multiplies fastest at once */
  readonly rowsAtOnce: number;
  run(input: SessionInput): Promise<Float32Array>;
  release(): Promise<void>;
}

/** Sessions of a graph that share the cores; with one, it runs in this thread. */
export function openSessions(
  file: GraphFile,
  provider: string,
  providerOptions: ProviderOptions,
  count = 1,
): Sessions {
  const options = sessionOptions(provider, providerOptions);
  if (count === 1) return new SessionHere(file, options, rowsAtOnce(provider));
  const threads = Math.max(1, Math.floor(availableParallelism() / count));
  return new SessionThreads(
    file,
    { ...options, intraOpNumThreads: threads },
    count,
    rowsAtOnce(provider, threads),
  );
}

/** One session in this thread, which waits while it runs. */
class SessionHere implements Sessions {
  readonly count = 1;
  private session: Promise<ort.InferenceSession> | undefined;

  constructor(
    private readonly file: GraphFile,
    private readonly options: ort.InferenceSession.SessionOptions,
    readonly rowsAtOnce: number,
  ) {}

  async run(input: SessionInput): Promise<Float32Array> {
    this.session ??= ort.InferenceSession.create(this.file.path, this.options);
    return runGraph(await this.session, this.file, input);
  }

  async release(): Promise<void> {
    // One that could not be made has been reported where it was to run.
    const session = await this.session?.catch(() => undefined);
    this.session = undefined;
    await session?.release();
  }
}

/**
 * Several sessions, each in a thread of its own and with a copy of the weights. They wait for each other only at the end of
 * a batch, where the threads of one session do in every operator, and each keeps what it computes in the caches of its
 * own cores.
 */
class SessionThreads implements Sessions {
  private readonly threads: ThreadPool<SessionInput, Float32Array>;

  /** @param options their `intraOpNumThreads` is that of each */
  constructor(
    file: GraphFile,
    options: ort.InferenceSession.SessionOptions,
    readonly count: number,
    readonly rowsAtOnce: number,
  ) {
    this.threads = new ThreadPool({
      size: count,
      module: new URL('./sessionThread.js', import.meta.url),
      name: 'a thread of ONNX Runtime',
      settings: { file, options } satisfies SessionSettings,
    });
  }

  run(input: SessionInput): Promise<Float32Array> {
    // The data is often a part of a larger array, which is not this thread's to give away.
    const data = input.data.slice();
    return this.threads.ask({ ...input, data } as SessionInput, 1, [data.buffer]);
  }

  release(): Promise<void> {
    return this.threads.close('the sessions were released');
  }
}

/** Runs a graph on one input. */
export async function runGraph(
  session: ort.InferenceSession,
  { input: name, output }: GraphFile,
  input: SessionInput,
): Promise<Float32Array> {
  const tensor =
    input.type === 'float32'
      ? new ort.Tensor(input.type, input.data, input.dims)
      : new ort.Tensor(input.type, input.data, input.dims);
  const results = await session.run({ [name]: tensor });
  return results[output].data as Float32Array;
}
