import * as ort from 'onnxruntime-node';
import { castNode, node, type OnnxModel, type Port } from './onnxModel.js';
import { type FeatureNames, feedsOf, frugalOptions } from './parity.js';
import type { Samples } from './samples.js';

/** The largest finite float16. */
export const LARGEST_HALF = 65504;

const OUTPUT = 'largest_value';

/**
 * A model that computes the largest magnitude among the named float16 values of another. Processors without float16
 * compute in float32 between operators, so that the features themselves don't show where float16 would overflow.
 */
export function largestValueModel(model: OnnxModel, halfValues: readonly string[]): OnnxModel {
  const largest = halfValues.map((name) => `${name}_largest`);
  const added = halfValues.flatMap((name, i) => [
    castNode(name, `${name}_measured`, 'F32'),
    node('Abs', [`${name}_measured`], [`${name}_magnitude`]),
    node('ReduceMax', [`${name}_magnitude`], [largest[i]], { keepdims: 0 }),
  ]);
  const output: Port = { name: OUTPUT, shape: [], dtype: 'F32' };
  const nodes = [...model.nodes, ...added, node('Max', largest, [OUTPUT])];
  return { ...model, nodes, outputs: [output] };
}

/** Runs such a model on the samples, one at a time: what is measured stays in memory. NaN where a value is. */
export async function largestValue(path: string, samples: Samples, names: FeatureNames): Promise<number> {
  const session = await ort.InferenceSession.create(path, frugalOptions());
  try {
    let largest = 0;
    for (const feeds of feedsOf(samples, names, 1)) {
      const [value] = (await session.run(feeds))[OUTPUT].data as Float32Array;
      if (!(value <= largest)) largest = value;
      if (Number.isNaN(largest)) break;
    }
    return largest;
  } finally {
    await session.release();
  }
}
