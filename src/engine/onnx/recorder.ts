import * as tf from '@tensorflow/tfjs-core';
import type { DataType, HostArray, Signature, TensorFunction } from '../engine.js';
import { Dimensions } from './dimensions.js';
import { type Constant, Graph, type OperatorSet, runtimeOperators } from './graph.js';
import { registerKernels } from './kernels/register.js';

const BACKEND_NAME = 'onnx-recorder';

/**
 * A TensorFlow.js backend whose kernels append nodes to an ONNX graph instead of computing. The tape that
 * differentiates a function works on it as on any other, so a recorded graph can hold a backward pass.
 */
class Recorder extends tf.KernelBackend {
  graph: Graph | undefined;

  /** Tensors made from data inside the recorded function become constants. */
  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): tf.DataId {
    if (dtype === 'string' || dtype === 'complex64') throw new Error(`cannot record a ${dtype} tensor`);
    const data = (dtype === 'float32' ? Float32Array : dtype === 'int32' ? Int32Array : Uint8Array).from(
      values as ArrayLike<number>,
    );
    return { name: this.recording().constant(dtype as DataType, shape, data) };
  }

  recording(): Graph {
    if (this.graph === undefined) throw new Error('no function is being recorded');
    return this.graph;
  }

  override readSync(): never {
    throw new Error("a recorded function must not read a tensor's values");
  }
  override read(): never {
    return this.readSync();
  }
  override disposeData(): boolean {
    return true;
  }
  override incRef(): void {}
  decRef(): void {}
  override refCount(): number {
    return 1;
  }
  override numDataIds(): number {
    return 0;
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7;
  }
  override timerAvailable(): boolean {
    return false;
  }
  override dispose(): void {}
}

let recorder: Recorder | undefined;

function theRecorder(): Recorder {
  if (recorder === undefined) {
    recorder = new Recorder();
    tf.registerBackend(BACKEND_NAME, () => recorder!);
    registerKernels(BACKEND_NAME, () => recorder!.recording());
  }
  return recorder;
}

/**
 * Records a function as an ONNX graph with symbolic dimensions.
 *
 * @param operators what the graph may use; by default what ONNX Runtime computes best
 * @throws Error naming the kernel if the function calls one that has no ONNX form, or naming the constant if a
 *   symbolic dimension leaked into it.
 */
export function record(
  fn: TensorFunction,
  signature: Signature,
  operators: OperatorSet = runtimeOperators,
): Graph {
  const recording = (number: 0 | 1) =>
    recordOnce(fn, signature, new Graph(Dimensions.choose(signature, number), operators));
  const graph = recording(0);
  if (Object.values(signature.inputs).some(({ shape }) => shape.some((size) => typeof size === 'string'))) {
    assertNoLeak(graph, recording(1));
  }
  return graph;
}

function recordOnce(fn: TensorFunction, signature: Signature, graph: Graph): Graph {
  const backend = theRecorder();
  const before = tf.engine().backendName;
  backend.graph = graph;
  if (!tf.setBackend(BACKEND_NAME)) throw new Error('the recorder could not be started');
  try {
    tf.tidy(() => {
      const inputs: Record<string, tf.Tensor> = {};
      for (const [name, spec] of Object.entries(signature.inputs)) {
        const tensor = tf.engine().makeTensorFromTensorInfo(graph.input(name, spec), backend);
        // A kernel's result may be its input itself; outputs are then told apart by an Identity node.
        inputs[name] = tensor;
      }
      for (const [name, tensor] of Object.entries(fn(inputs))) {
        graph.output(name, graph.emit('Identity', [tensor], tensor.shape, tensor.dtype));
      }
    });
  } catch (error) {
    throw explainMissingKernel(error);
  } finally {
    backend.graph = undefined;
    if (before) tf.setBackend(before);
  }
  graph.prune();
  return graph;
}

function explainMissingKernel(error: unknown): unknown {
  const kernel = error instanceof Error && /Kernel '(\w+)' not registered/.exec(error.message)?.[1];
  if (!kernel) return error;
  return new Error(
    `the TensorFlow.js kernel '${kernel}' has no ONNX form: add it in src/engine/onnx/kernels`,
  );
}

/** Two recordings with other stand-ins must be equal; a difference is a dimension taken for a value. */
function assertNoLeak(first: Graph, second: Graph): void {
  const leak = (what: string) =>
    new Error(
      `a symbolic dimension leaked into ${what}: it depends on the size used while recording. ` +
        'Feed the number, or compute it from a tensor',
    );
  if (first.nodes.length !== second.nodes.length) throw leak('the number of operations');
  first.nodes.forEach((node, i) => {
    const other = second.nodes[i];
    if (node.op !== other.op || JSON.stringify(node.attributes) !== JSON.stringify(other.attributes)) {
      throw leak(`the attributes of ${node.outputs[0]}`);
    }
    node.inputs.forEach((input, j) => {
      const a = first.constants.get(input);
      const b = second.constants.get(other.inputs[j]);
      if (a && b ? !equalConstants(a, b) : input !== other.inputs[j])
        throw leak(`input ${j} of ${node.outputs[0]}`);
    });
  });
}

function equalConstants(a: Constant, b: Constant): boolean {
  if (a.type !== b.type || a.shape.join() !== b.shape.join()) return false;
  const left = a.data as HostArray;
  const right = b.data as HostArray;
  return left.every((value, i) => Object.is(value, right[i]));
}
