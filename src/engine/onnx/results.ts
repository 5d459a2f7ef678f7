import type * as ort from 'onnxruntime-node';
import { messageOf } from '../../errors.js';
import { sizeOf } from '../../shape.js';
import type { DataType, Feeds, HostArray, HostTensor, Signature } from '../engine.js';

/**
 * The output that keeps a run from copying all others. onnxruntime-node 1.30 copies every result into a new array, also
 * one that it wrote to memory it was given: in a training step of ViT-B-16 the gradients, 750 MB and 4 % of the time.
 * It does so in the order of the outputs, up to the first that it can't hand over, which is an empty sequence.
 */
export const unreturnable = 'unreturnable';

/** Runs a session and takes the results as it hands them over. */
export async function runToResults(
  session: ort.InferenceSession,
  inputs: Readonly<Record<string, ort.Tensor>>,
  names: readonly string[],
): Promise<Record<string, HostTensor>> {
  const results = await session.run(inputs, names);
  return Object.fromEntries(
    names.map((name) => [name, { shape: results[name].dims, data: results[name].data as HostArray }]),
  );
}

/**
 * Runs a session that writes its results to given memory, and takes nothing that it would hand over.
 *
 * @param memory of every output but `unreturnable`, by name
 */
export async function runToMemory(
  session: ort.InferenceSession,
  inputs: Readonly<Record<string, ort.Tensor>>,
  memory: Readonly<Record<string, ort.Tensor>>,
): Promise<void> {
  const stops = session.outputNames.includes(unreturnable);
  try {
    await session.run(inputs, stops ? { [unreturnable]: null, ...memory } : memory);
  } catch (error) {
    if (!stops || !messageOf(error).includes('Non tensor type')) throw error;
  }
}

/** A tensor of zeros of a shape whose symbolic sizes, and products of them, are known. */
export function emptyTensor(
  shape: readonly (number | string)[],
  dtype: DataType,
  sizes: ReadonlyMap<string, number>,
): HostTensor {
  const known = shape.map((entry) => {
    if (typeof entry === 'number') return entry;
    const factors = entry.split('*').map((factor) => sizes.get(factor) ?? Number(factor));
    return factors.reduce((product, factor) => product * factor);
  });
  const length = sizeOf(known);
  if (dtype === 'float32') return { shape: known, data: new Float32Array(length) };
  return { shape: known, data: dtype === 'int32' ? new Int32Array(length) : new Uint8Array(length) };
}

/** What symbolic dimensions are in what is fed. */
export function symbolicSizes({ inputs }: Signature, feeds: Feeds): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const [name, { shape }] of Object.entries(inputs)) {
    for (const [axis, size] of shape.entries()) {
      if (typeof size === 'string' && name in feeds) sizes.set(size, feeds[name].shape[axis]);
    }
  }
  return sizes;
}
