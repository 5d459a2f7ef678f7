import { availableParallelism } from 'node:os';
import type * as ort from 'onnxruntime-node';

/** Options of every session on a provider. */
export function sessionOptions(provider: string): ort.InferenceSession.SessionOptions {
  return {
    executionProviders: [provider],
    graphOptimizationLevel: 'all',
    // A pattern is a block for all values of a run, which is taken beside the memory of the run that it was seen in.
    enableMemPattern: false,
    // By itself ONNX Runtime was seen to take one of two cores.
    intraOpNumThreads: availableParallelism(),
    logSeverityLevel: 3,
  };
}
