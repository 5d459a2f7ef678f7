import * as ort from 'onnxruntime-node';
import { bytesOf } from '../../io/readFile.js';
import { sizeOf } from '../../shape.js';
import type { DeviceTensor, Feeds, HostTensor, Program, Signature } from '../engine.js';
import type { Graph } from './graph.js';
import { encodeModel } from './protobuf.js';
import { emptyTensor, runToMemory, runToResults, symbolicSizes, unreturnable } from './results.js';
import { ArrayTensor, toOrt, writable } from './tensors.js';

type Constants = Readonly<Record<string, DeviceTensor>>;

/**
 * Constants of more bytes are fed, not built in: a session that has them built in holds a second copy. A tower of
 * ViT-L-14 is below, ViT-H-14's image tower, with which a process would take 1.7 times the model's weights, above.
 */
const LARGEST_BUILT_IN = 2e9;

/** A recorded graph and the session that runs it. */
export class OnnxProgram implements Program {
  private constructor(
    private session: ort.InferenceSession,
    private readonly graph: Graph,
    private readonly signature: Signature,
    private readonly constants: Constants,
    /** constants that the session has built in; the others are fed */
    private builtIn: Constants,
    private readonly options: ort.InferenceSession.SessionOptions,
  ) {}

  /**
   * Prepares a graph to be run.
   *
   * ONNX Runtime arranges weights that it knows when it starts for fast products, and computes what depends on them
   * alone. So constants become a part of the session, until the first of them changes (a training, say): from then on
   * they are fed.
   */
  static async create(
    graph: Graph,
    signature: Signature,
    constants: Constants,
    options: ort.InferenceSession.SessionOptions,
  ): Promise<OnnxProgram> {
    const used = Object.fromEntries(Object.entries(constants).filter(([name]) => graph.inputs.has(name)));
    const builtIn = canBeBuiltIn(used) ? used : {};
    const session = await createSession(graph, builtIn, options);
    return new OnnxProgram(session, graph, signature, used, builtIn, options);
  }

  async run(feeds: Feeds, into: Record<string, DeviceTensor> = {}): Promise<Record<string, HostTensor>> {
    if (Object.values(this.builtIn).some(isChanged)) await this.feedConstants();
    const given: Feeds = { ...this.constants, ...feeds };
    const inputs: Record<string, ort.Tensor> = {};
    for (const name of this.session.inputNames) {
      if (!(name in given)) throw new Error(`input '${name}' was not fed`);
      inputs[name] = toOrt(this.signature.inputs[name].dtype, given[name]);
    }
    return Object.keys(into).length === 0
      ? runToResults(this.session, inputs, [...this.graph.outputs.keys()])
      : this.runInto(into, inputs, symbolicSizes(this.signature, given));
  }

  private async runInto(
    into: Record<string, DeviceTensor>,
    inputs: Record<string, ort.Tensor>,
    sizes: ReadonlyMap<string, number>,
  ): Promise<Record<string, HostTensor>> {
    const outputs: Record<string, HostTensor> = {};
    const memory: Record<string, ort.Tensor> = {};
    for (const [name, { shape, dtype }] of this.graph.outputs) {
      if (name in into) writable(into[name]);
      else outputs[name] = emptyTensor(shape, dtype, sizes);
      memory[name] = toOrt(dtype, into[name] ?? outputs[name]);
    }
    await runToMemory(this.session, inputs, memory);
    return outputs;
  }

  dispose(): Promise<void> {
    return this.session.release();
  }

  private async feedConstants(): Promise<void> {
    const replaced = this.session;
    this.session = await createSession(this.graph, {}, this.options);
    this.builtIn = {};
    await replaced.release();
  }
}

/** What has changed once will change again, and halves would be built in as floats. */
function canBeBuiltIn(constants: Constants): boolean {
  const tensors = Object.values(constants);
  const bytes = tensors.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
  return (
    bytes <= LARGEST_BUILT_IN && tensors.every((tensor) => tensor instanceof ArrayTensor && !tensor.isChanged)
  );
}

function isChanged(tensor: DeviceTensor): boolean {
  return tensor instanceof ArrayTensor && tensor.isChanged;
}

function createSession(
  graph: Graph,
  builtIn: Constants,
  options: ort.InferenceSession.SessionOptions,
): Promise<ort.InferenceSession> {
  const externalData = Object.entries(builtIn).map(([path, tensor]) => ({
    path,
    data: bytesOf(tensor.read()),
  }));
  const [provider] = options.executionProviders as ort.InferenceSession.ExecutionProviderOption[];
  // Sequences are made on the CPU, to which another provider may have been forbidden to turn.
  const sequences = (provider as { name: string }).name === 'cpu' ? [unreturnable] : [];
  const model = encodeModel(graph, new Set(Object.keys(builtIn)), sequences);
  return ort.InferenceSession.create(model, { ...options, externalData });
}
