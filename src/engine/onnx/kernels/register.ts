import { registerKernel, type TensorInfo } from '@tensorflow/tfjs-core';
import type { Graph } from '../graph.js';
import { arithmetic } from './arithmetic.js';
import { convolutions } from './convolution.js';
import { fused } from './fused.js';
import { indexing } from './indexing.js';
import type { RecorderKernel } from './kernel.js';
import { matrix } from './matrix.js';
import { reductions } from './reductions.js';
import { shapes } from './shapes.js';

export const kernels: Readonly<Record<string, RecorderKernel>> = {
  ...arithmetic,
  ...reductions,
  ...shapes,
  ...matrix,
  ...indexing,
  ...convolutions,
  ...fused,
};

export function registerKernels(backendName: string, graph: () => Graph): void {
  for (const [kernelName, kernel] of Object.entries(kernels)) {
    registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) => {
        const output = kernel(graph(), { inputs: inputs as Record<string, TensorInfo>, attrs: attrs ?? {} });
        return Array.isArray(output) ? output.map(fresh) : fresh(output);
      },
    });
  }
}

/** A kernel may return its input. The tape tells tensors apart by identity, so the output is a new one. */
function fresh({ dataId, shape, dtype }: TensorInfo): TensorInfo {
  return { dataId, shape, dtype };
}
