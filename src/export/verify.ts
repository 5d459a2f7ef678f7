import * as ort from 'onnxruntime-node';
import { UserError } from '../errors.js';
import { normalize } from '../eval/ranking.js';
import { LARGEST_HALF } from './overflow.js';
import {
  compare,
  type Features,
  featuresOf,
  frugalOptions,
  type Parity,
  type Precision,
  type Tower,
} from './parity.js';
import type { Part } from './parts.js';
import type { Samples } from './samples.js';
import type { Staging } from './staging.js';

/** Runs a file and compares it with the model. @throws UserError naming the tower that is too far from it */
export async function measure(
  staging: Staging,
  part: Part,
  precision: Precision,
  samples: Samples,
  expected: Features,
  threshold: number,
  options?: ort.InferenceSession.SessionOptions,
): Promise<Parity[]> {
  const file = part.fileName(precision);
  const width = expected.image.length / samples.images;
  const found = await featuresOf(staging.path(file), samples, part.names, width, options);
  const wanted = part.isJoint
    ? { image: normalize(expected.image, width), text: normalize(expected.text, width) }
    : expected;
  const parity: Parity[] = [];
  for (const [tower, features] of Object.entries(found) as [Tower, Float32Array][]) {
    const entry = { file, tower, precision, ...(await compare(tower, features, wanted, width)), threshold };
    parity.push(entry);
    if (entry.minCosine >= threshold) continue;
    const wrong = Number.isNaN(entry.minCosine)
      ? 'features that are not finite'
      : `features with a cosine of ${entry.minCosine.toFixed(5)} to the model's (mean ${entry.meanCosine.toFixed(5)})`;
    throw new UserError(
      `the ${tower} tower in ${precision} (${file}) has ${wrong} on ${entry.samples} samples, at least ${threshold} was ` +
        `asked for. Nothing was written. --minimum-cosine.${precision} sets what is enough`,
    );
  }
  return parity;
}

/** Notes the largest value of a file in half precision. @throws UserError where float16 does not reach so far */
export function requireHalf(largest: number, file: string, entries: Parity[]): void {
  if (largest <= LARGEST_HALF) {
    for (const entry of entries) entry.largestHalf = largest;
    return;
  }
  const towers = entries.map(({ tower }) => tower).join(' or ');
  throw new UserError(
    `the ${towers} tower in fp16 (${file}) computes values up to ${largest.toExponential(1)}, float16 ends at ` +
      `${LARGEST_HALF}: export it in fp32`,
  );
}

/** Also writes a tower's graph as ONNX Runtime runs it, for any processor. */
export async function optimize(staging: Staging, file: string): Promise<void> {
  const name = file.replace(/\.onnx$/, '.optimized.onnx');
  const external = `${name}.extra_file`;
  const options: ort.InferenceSession.SessionOptions = {
    ...frugalOptions({
      optimized_model_external_initializers_file_name: external,
      optimized_model_external_initializers_min_size_in_bytes: '1024',
    }),
    graphOptimizationLevel: 'extended',
    optimizedModelFilePath: staging.path(name),
  };
  const session = await ort.InferenceSession.create(staging.path(file), options);
  await session.release();
  for (const each of [name, external]) staging.add(each);
}

/** A line for the user. */
export function describe({ file, tower, minCosine, meanCosine, topTenAgreement, samples }: Parity): string {
  const agreement = `${(100 * topTenAgreement).toFixed(0)} % of the top ten`;
  return `${file}: ${tower} features, cosine min ${minCosine.toFixed(6)} mean ${meanCosine.toFixed(6)}, ${agreement} (${samples} samples)`;
}
