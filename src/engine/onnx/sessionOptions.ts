import { availableParallelism } from 'node:os';
import type * as ort from 'onnxruntime-node';
import { UserError } from '../../errors.js';
import { memoryThere } from '../../io/memory.js';

/** ONNX Runtime's execution providers, by the names of its Node.js binding. */
export const providerNames = ['cpu', 'cuda', 'tensorrt', 'webgpu'] as const;

export const layouts = ['NCHW', 'NHWC'] as const;
export const validationModes = ['disabled', 'wgpuOnly', 'basic', 'full'] as const;
export const bufferCacheModes = ['disabled', 'lazyRelease', 'simple', 'bucket'] as const;

/** All that onnxruntime-node 1.30 hands to an execution provider; what else a provider knows keeps its default. */
export interface ProviderOptions {
  /** the GPU, counted from 0 */
  deviceId?: number;
  /** false: an operation that the provider lacks is an error; by default it is computed on the CPU */
  cpuFallback?: boolean;
  /** order of the dimensions that convolutions compute in */
  preferredLayout?: (typeof layouts)[number];
  /** how much of the calls to the GPU is checked */
  validationMode?: (typeof validationModes)[number];
  /** how memory of the GPU that was freed is kept for later */
  storageBufferCacheMode?: (typeof bufferCacheModes)[number];
}

/** The options that each provider takes; others would be passed over. */
const taken: Readonly<Record<string, readonly (keyof ProviderOptions)[]>> = {
  cpu: [],
  cuda: ['deviceId', 'cpuFallback'],
  tensorrt: ['deviceId', 'cpuFallback'],
  webgpu: ['cpuFallback', 'preferredLayout', 'validationMode', 'storageBufferCacheMode'],
};

/**
 * How sessions compute: with the provider, and where it lacks an operation, on the CPU, unless `cpuFallback` is false.
 * TensorRT leaves what it lacks to CUDA before.
 *
 * @param session further entries of ONNX Runtime's session configuration
 * @throws UserError for an option that the provider does not take
 */
export function sessionOptions(
  provider: string,
  options: ProviderOptions = {},
  session: Readonly<Record<string, string>> = {},
): ort.InferenceSession.SessionOptions {
  requireTaken([provider], options);
  const { cpuFallback = true, ...others } = options;
  const own = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  return {
    executionProviders: [
      { name: provider, ...own },
      ...(provider === 'tensorrt' ? [{ name: 'cuda', ...own }] : []),
    ],
    graphOptimizationLevel: 'all',
    // A pattern is a block for all values of a run, which is taken beside the memory of the run that it was seen in.
    enableMemPattern: false,
    // By itself ONNX Runtime was seen to take one of two cores.
    intraOpNumThreads: availableParallelism(),
    logSeverityLevel: 3,
    extra: {
      session: {
        // Threads that wait for the next run otherwise take the cores that other sessions and JavaScript compute on: an
        // image and a text tower that ran in turns were seen to take 1.2 and 2 times as long.
        force_spinning_stop: '1',
        ...(!cpuFallback && { disable_cpu_ep_fallback: '1' }),
        ...session,
      },
    },
  };
}

/**
 * Rows that a thread multiplies fastest at once: more of them drive each other out of the caches. On two cores a picture of
 * ViT-B-16, with 197 rows, took 159 ms where three or four were encoded at once, 162 with six, 169 with sixteen; while the
 * cores exchanged data slowly 181 with three, 176 with four and sixteen, 174 with six. Texts differ by 1 to 3 %.
 */
const ROWS_PER_THREAD = 400;

/**
 * How many rows of a matrix a provider multiplies fastest at once; Infinity where that was not measured.
 *
 * @param threads of the session
 */
export function rowsAtOnce(provider: string, threads = availableParallelism()): number {
  return provider === 'cpu' ? ROWS_PER_THREAD * threads : Number.POSITIVE_INFINITY;
}

/** Bytes of weights that the sessions of a graph may hold together, and as a share of the memory there is. */
const MOST_WEIGHTS = 2 ** 30;
const MOST_OF_MEMORY = 1 / 16;

/**
 * How many sessions encode most rows a second together, the cores divided among them; 1 where several were not measured
 * to be faster, or where their weights would take too much memory. On two cores two sessions encoded 2 to 12 % more
 * pictures with ViT-B-16 in fp32 than one with two threads, in int8 8 to 31 % more.
 *
 * @param weightBytes of the graph
 * @param memory bytes that the process may use
 */
export function sessionsSideBySide(
  provider: string,
  weightBytes: number,
  cores = availableParallelism(),
  memory = memoryThere(),
): number {
  if (provider !== 'cpu') return 1;
  let count = Math.min(cores, Math.floor(Math.min(MOST_WEIGHTS, MOST_OF_MEMORY * memory) / weightBytes));
  while (count > 1 && cores % count !== 0) count--;
  return Math.max(1, count);
}

/** The names of the options that a provider takes. */
export function takenOptions(provider: string): readonly string[] {
  return taken[provider] ?? [];
}

/** @throws UserError for an option that none of the providers takes */
export function requireTaken(providers: readonly string[], options: ProviderOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || providers.some((provider) => takes(provider, name))) continue;
    const takers = providerNames.filter((provider) => takes(provider, name));
    throw new UserError(
      `provider option '${name}' is one of ${takers.join(' and ')}, not of ${providers.join(', ')}`,
    );
  }
}

/** Those of the options that a provider takes. */
export function takenBy(provider: string, options: ProviderOptions): ProviderOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => takes(provider, name)));
}

function takes(provider: string, option: string): boolean {
  return takenOptions(provider).includes(option);
}
