import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Graph } from '../graph.js';

/** What a kernel is called with: tensors by the name that TensorFlow.js gives them, and its attributes. */
export interface KernelCall {
  inputs: Record<string, TensorInfo>;
  attrs: Record<string, unknown>;
}

/** Appends to the graph what the kernel computes and returns its output or outputs. */
export type RecorderKernel = (graph: Graph, call: KernelCall) => TensorInfo | TensorInfo[];
