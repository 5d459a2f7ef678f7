import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { DeviceTensor, Feeds, HostTensor, Program } from '../engine/engine.js';
import { type Range, rangesOf } from '../rows.js';
import { sizeOf } from '../shape.js';
import {
  type BackwardPass,
  gradientName,
  gradientsOf,
  type RecordableFunction,
  signatureOf,
  updateName,
} from './gradients.js';
import {
  encodePair,
  featureSpec,
  lossInputs,
  pairInputs,
  pairLoss,
  scalarSpec,
  type TrainingPlan,
} from './towers.js';

/** A batch that can be fed in parts. */
export interface PartedBatch {
  n: number;
  /** features of the teacher as a feed, if there is one */
  teacher: Record<string, HostTensor>;
  /** feeds of the rows from `begin` to before `end` */
  rows(begin: number, end: number): Record<string, HostTensor>;
}

const imageGradient = gradientName('imageFeatures');
const textGradient = gradientName('textFeatures');
const sumName = (parameter: string) => `sum ${parameter}`;

/** The parts that a batch is cut into: `count` of them or, of a small batch, fewer. */
export function cutBatch(n: number, count: number): Range[] {
  return rangesOf(n, Math.ceil(n / count));
}

/**
 * Gradient accumulation with cached features: the gradient of a large batch in the memory of its parts (Gao et al.,
 * 2021). Each part is encoded without gradient; the loss of all features gives the gradient of each of them; each
 * part is encoded again and continues it into the weights. It is the gradient of the large batch, logit_scale's too
 * (in the reference that one is too large by the number of parts). Batch norms see one part at a time.
 */
export class Accumulation implements BackwardPass {
  private constructor(
    private readonly parts: number,
    private readonly encode: Program,
    private readonly contrast: Program,
    private readonly continueBackward: Program,
  ) {}

  static async create(plan: TrainingPlan, parts: number): Promise<Accumulation> {
    const compile = ({ fn, signature }: RecordableFunction) => plan.model.engine.compile(fn, signature);
    return new Accumulation(
      parts,
      await compile(encodeFunction(plan)),
      await compile(contrastFunction(plan)),
      await compile(backwardFunction(plan)),
    );
  }

  /** Loss, nearest neighbours and updates of buffers; the gradients are written to their tensors. */
  async run(
    batch: PartedBatch,
    weights: Feeds,
    gradients: ReadonlyMap<string, DeviceTensor>,
  ): Promise<Record<string, HostTensor>> {
    const { n } = batch;
    const ranges = cutBatch(n, this.parts);
    const features: { image: HostTensor[]; text: HostTensor[] } = { image: [], text: [] };
    for (const { begin, end } of ranges) {
      const rows = batch.rows(begin, end);
      const { image, text } = await this.encode.run({ ...weights, ...rows });
      features.image.push(image ?? rows.imageFeatures);
      features.text.push(text ?? rows.textFeatures);
    }

    const scaleGradient = gradients.get('logit_scale');
    const {
      [imageGradient]: ofImages,
      [textGradient]: ofTexts,
      ...result
    } = await this.contrast.run(
      {
        ...weights,
        ...batch.teacher,
        imageFeatures: joined(features.image),
        textFeatures: joined(features.text),
        count: { data: Float32Array.of(n), shape: [] },
      },
      scaleGradient && { [gradientName('logit_scale')]: scaleGradient },
    );

    const sums: Record<string, DeviceTensor> = {};
    const into: Record<string, DeviceTensor> = {};
    for (const [name, tensor] of gradients) {
      if (name === 'logit_scale') continue;
      tensor.clear();
      sums[sumName(name)] = tensor;
      into[gradientName(name)] = tensor;
    }
    let updates: Record<string, HostTensor> = {};
    for (const { begin, end } of ranges) {
      const buffers = Object.keys(weights).filter((name) => updateName(name) in updates);
      updates = await this.continueBackward.run(
        {
          ...weights,
          ...Object.fromEntries(buffers.map((name) => [name, updates[updateName(name)]])),
          ...sums,
          ...batch.rows(begin, end),
          [imageGradient]: rowsOf(ofImages, begin, end),
          [textGradient]: rowsOf(ofTexts, begin, end),
        },
        into,
      );
    }
    return { ...result, ...updates };
  }

  async dispose(): Promise<void> {
    for (const program of [this.encode, this.contrast, this.continueBackward]) await program.dispose();
  }
}

/** The features of the towers that are not locked, as they are in training. */
function encodeFunction(plan: TrainingPlan): RecordableFunction {
  return {
    fn: (inputs) => {
      const { image, text, buffers } = encodePair(plan, inputs);
      tf.dispose(buffers);
      return { ...(!plan.locked.vision && { image }), ...(!plan.locked.text && { text }) };
    },
    signature: signatureOf(plan, pairInputs(plan)),
  };
}

/** Loss, nearest neighbours, and the gradients of logit_scale and of all features. */
function contrastFunction(plan: TrainingPlan): RecordableFunction {
  const { embed_dim: width } = plan.model.config;
  const ofScale = plan.trainable.filter((name) => name === 'logit_scale');
  return {
    fn: (inputs) => {
      const nearest: Record<string, Tensor> = {};
      const { value, outputs } = gradientsOf(['imageFeatures', 'textFeatures', ...ofScale], inputs, () => {
        const [image, text] = [inputs.imageFeatures, inputs.textFeatures] as Tensor2D[];
        const { loss, nearestText, nearestImage } = pairLoss(plan, inputs, image, text);
        nearest.nearestText = tf.keep(nearestText);
        nearest.nearestImage = tf.keep(nearestImage);
        return { value: loss, buffers: {} };
      });
      return { loss: value, ...nearest, ...outputs };
    },
    signature: signatureOf(plan, {
      imageFeatures: featureSpec(width),
      textFeatures: featureSpec(width),
      count: scalarSpec,
      ...lossInputs(plan),
    }),
  };
}

/** Continues the gradients of a part's features into the weights, and adds them to the sums that are fed. */
function backwardFunction(plan: TrainingPlan): RecordableFunction {
  const { embed_dim: width } = plan.model.config;
  const names = plan.trainable.filter((name) => name !== 'logit_scale');
  return {
    fn: (inputs) => {
      const { outputs } = gradientsOf(names, inputs, () => {
        const { image, text, buffers } = encodePair(plan, inputs);
        // A scalar whose gradient with respect to the features is the given one.
        const products = [
          ...(plan.locked.vision ? [] : [tf.mul(image, inputs[imageGradient])]),
          ...(plan.locked.text ? [] : [tf.mul(text, inputs[textGradient])]),
        ];
        return { value: products.map((product) => tf.sum(product)).reduce((a, b) => tf.add(a, b)), buffers };
      });
      for (const name of names) {
        outputs[gradientName(name)] = tf.add(inputs[sumName(name)], outputs[gradientName(name)]);
      }
      return outputs;
    },
    signature: signatureOf(plan, {
      ...pairInputs(plan),
      ...(!plan.locked.vision && { [imageGradient]: featureSpec(width) }),
      ...(!plan.locked.text && { [textGradient]: featureSpec(width) }),
      ...Object.fromEntries(
        Object.entries(plan.model.weightSpecs((name) => names.includes(name))).map(([name, spec]) => [
          sumName(name),
          spec,
        ]),
      ),
    }),
  };
}

/** Rows of a tensor, without a copy. */
export function rowsOf({ data, shape }: HostTensor, begin: number, end: number): HostTensor {
  const width = sizeOf(shape.slice(1));
  return { data: data.subarray(begin * width, end * width), shape: [end - begin, ...shape.slice(1)] };
}

function joined(parts: HostTensor[]): HostTensor {
  const n = parts.reduce((sum, { shape }) => sum + shape[0], 0);
  const shape = [n, ...parts[0].shape.slice(1)];
  const data = new Float32Array(sizeOf(shape));
  let offset = 0;
  for (const part of parts) {
    data.set(part.data, offset);
    offset += part.data.length;
  }
  return { data, shape };
}
