import { floats, requireTensor } from '../checkpoint/floats.js';
import { momentTensors, type OptimizerState, type TrainingState } from '../checkpoint/trainingState.js';
import {
  type DeviceTensor,
  type HostTensor,
  lazyTensor,
  type Moments,
  type Program,
  readAll,
} from '../engine/engine.js';
import { UserError } from '../errors.js';
import { type DropoutSite, textDropoutSites } from '../model/bert.js';
import { assertVariance } from '../model/image.js';
import { assertLength, assertTexts, type Model } from '../model/model.js';
import { isBuffer, isVisionParameter } from '../model/parameters.js';
import { sizeOf } from '../shape.js';
import { type AdamWOptions, adamwFactors, defaultAdamW } from './adamw.js';
import { dropoutFactors } from './dropout.js';
import { gradientName, trainingFunction, updateName } from './gradients.js';
import { learningRateAt, type Schedule } from './schedule.js';

export interface TrainerOptions extends Schedule, AdamWOptions {
  /** stage 1, locked-image tuning: the image tower keeps its weights */
  freezeVision: boolean;
  /** text dropout: false for none, true for the rates of the model config, or one rate for all sites */
  dropout: boolean | number;
  /** of dropout */
  seed: number;
}

const defaults = {
  freezeVision: false,
  dropout: true,
  seed: 0,
};

/** A batch of matching image and text rows. With a locked image tower, features may stand for the pixels. */
export interface TrainingBatch {
  /** [n, 3, resolution, resolution], preprocessed */
  pixels?: Float32Array;
  /** [n, embed_dim], not normalised; only with `freezeVision` */
  imageFeatures?: Float32Array;
  /** token ids [n, length], 0 where padded */
  ids: Int32Array;
  n: number;
  length: number;
}

export interface StepResult {
  loss: number;
  /** the learning rate this step was taken with */
  learningRate: number;
  /** share of images whose nearest text in the batch is their own */
  imageToTextAccuracy: number;
  textToImageAccuracy: number;
  /** exp(logit_scale) after the step */
  logitScale: number;
}

/** The reference keeps logit_scale within [0, ln 100]. */
const MAX_LOGIT_SCALE = 4.6052;

/** Trains a model's weights in place, one optimizer step at a time. */
export class Trainer {
  /** steps of the schedule taken */
  stepCount = 0;
  /** updates that AdamW has made: more than `stepCount` where it was taken over from another run */
  updateCount = 0;
  readonly moments = new Map<string, Moments>();
  private readonly gradients = new Map<string, DeviceTensor>();

  private constructor(
    readonly model: Model,
    readonly options: TrainerOptions,
    readonly trainable: readonly string[],
    private readonly dropoutSites: readonly DropoutSite[],
    private readonly program: Program,
  ) {
    for (const name of trainable) {
      const { shape } = model.weights.get(name)!;
      this.gradients.set(name, model.engine.tensor(shape));
      this.moments.set(name, { first: model.engine.tensor(shape), second: model.engine.tensor(shape) });
    }
  }

  static async create(model: Model, options: TrainerOptions): Promise<Trainer> {
    const trainable = [...model.weights.keys()].filter(
      (name) => !isBuffer(name) && !(options.freezeVision && isVisionParameter(name)),
    );
    const sites = textDropoutSites(model.config, 'n', 'length', options.dropout);
    const { fn, signature } = trainingFunction(model, trainable, options.freezeVision, sites);
    const program = await model.engine.compile(fn, signature);
    return new Trainer(model, options, trainable, sites, program);
  }

  /** All weights, frozen ones too. On the onnx engine the arrays are the storage itself. */
  get weights(): Map<string, { shape: readonly number[]; data: Float32Array }> {
    return readAll(this.model.weights);
  }

  /** Loss of a batch and the gradient of every trainable parameter, at the present weights; nothing is updated. */
  async lossAndGradients(
    batch: TrainingBatch,
  ): Promise<{ loss: number; gradients: Map<string, Float32Array> }> {
    const { loss } = await this.backward(batch);
    const gradients = new Map([...readAll(this.gradients)].map(([name, { data }]) => [name, data.slice()]));
    return { loss: loss.data[0], gradients };
  }

  /** One optimizer step on a batch. */
  async step(batch: TrainingBatch): Promise<StepResult> {
    const { loss, nearestText, nearestImage, ...updates } = await this.backward(batch);
    const learningRate = learningRateAt(this.options, this.stepCount);
    this.stepCount++;
    this.updateCount++;
    for (const name of this.trainable) {
      const weight = this.model.weights.get(name)!;
      const gradient = this.gradients.get(name)!;
      const factors = adamwFactors(this.options, name, learningRate, this.updateCount);
      this.model.engine.adamw(weight, gradient, this.moments.get(name)!, factors);
    }
    for (const [name, tensor] of this.model.weights) {
      const update = updates[updateName(name)];
      if (update !== undefined) tensor.write(update.data as Float32Array);
    }
    return {
      loss: loss.data[0],
      learningRate,
      imageToTextAccuracy: diagonalShare(nearestText),
      textToImageAccuracy: diagonalShare(nearestImage),
      logitScale: this.clampLogitScale(),
    };
  }

  /** AdamW's memory as a checkpoint holds it. */
  get optimizerState(): OptimizerState {
    const { weightDecay, beta1, beta2, epsilon } = this.options;
    return {
      step: this.updateCount,
      learningRate: learningRateAt(this.options, Math.max(0, this.stepCount - 1)),
      weightDecay,
      beta1,
      beta2,
      epsilon,
      moments: new Map(
        [...this.moments].map(([name, { first, second }]) => [
          name,
          { first: lazyTensor(first), second: lazyTensor(second) },
        ]),
      ),
    };
  }

  /**
   * Takes over where another run stood: its steps and AdamW's memory. Hyper-parameters stay those of the options.
   *
   * @param path of the checkpoint, for messages
   * @throws UserError if it has no optimizer, or one of other parameters: nothing is changed then
   */
  restore(training: TrainingState | undefined, path: string): void {
    const optimizer = training?.optimizer;
    if (training === undefined || optimizer === undefined) {
      throw new UserError(`${path} holds weights, but no optimizer to go on with`);
    }
    const surplus = [...optimizer.moments.keys()].find((name) => !this.moments.has(name));
    if (surplus !== undefined) {
      throw new UserError(`${path}: its optimizer trained '${surplus}', which is locked here`);
    }
    const stored = momentTensors(optimizer);
    const each = (use: (tensor: DeviceTensor, name: string) => void) => {
      for (const [name, { first, second }] of this.moments) {
        use(first, `${name}.exp_avg`);
        use(second, `${name}.exp_avg_sq`);
      }
    };
    each(({ shape }, name) => requireTensor(stored, name, shape, path));
    each((tensor, name) => tensor.write(floats(stored, name, tensor.shape, path)));
    this.stepCount = training.step;
    this.updateCount = optimizer.step;
  }

  async dispose(): Promise<void> {
    await this.program.dispose();
    for (const tensor of this.gradients.values()) tensor.dispose();
    for (const { first, second } of this.moments.values()) {
      first.dispose();
      second.dispose();
    }
  }

  /** Runs forward and backward pass; the gradients stay on the engine. */
  private async backward(batch: TrainingBatch): Promise<Record<string, HostTensor>> {
    const { n, length, ids } = batch;
    const { config } = this.model;
    if (n < 1) throw new RangeError('the batch is empty');
    assertTexts(config, ids, n, length);
    const feeds: Record<string, HostTensor | DeviceTensor> = {
      ...Object.fromEntries(this.model.weights),
      ids: { data: ids, shape: [n, length] },
      count: { data: Float32Array.of(n), shape: [] },
      ...this.dropout(n, length),
    };
    if (this.options.freezeVision) {
      const features = batch.imageFeatures ?? (await this.model.encodeImages(pixelsOf(batch), n));
      const shape = [n, config.embed_dim];
      assertLength('imageFeatures', features.length, shape);
      feeds.imageFeatures = { data: features, shape };
    } else {
      const shape = [n, 3, config.image_resolution, config.image_resolution];
      const pixels = pixelsOf(batch);
      assertVariance(config, n);
      assertLength('pixels', pixels.length, shape);
      feeds.pixels = { data: pixels, shape };
    }
    const into = Object.fromEntries(
      [...this.gradients].map(([name, tensor]) => [gradientName(name), tensor]),
    );
    return this.program.run(feeds, into);
  }

  private dropout(n: number, length: number): Record<string, HostTensor> {
    const sizes: Record<string, number> = { n, length };
    const feeds: Record<string, HostTensor> = {};
    this.dropoutSites.forEach(({ name, rate, shape }, site) => {
      const numbers = shape.map((size) => (typeof size === 'string' ? sizes[size] : size));
      const key = [this.options.seed, this.stepCount, site];
      feeds[name] = { data: dropoutFactors(sizeOf(numbers), rate, key), shape: numbers };
    });
    return feeds;
  }

  private clampLogitScale(): number {
    const tensor = this.model.weights.get('logit_scale')!;
    const value = Math.min(Math.max(tensor.read()[0], 0), MAX_LOGIT_SCALE);
    tensor.write(Float32Array.of(value));
    return Math.exp(value);
  }
}

/**
 * Prepares a model for training: compiles the training step and allocates AdamW's moments.
 *
 * @param options learningRate, warmupSteps and totalSteps, and what should differ from the reference's defaults
 * @throws RangeError for a hyper-parameter that is no number, or a dropout rate of 1 or more
 */
export function createTrainer(model: Model, options: Schedule & Partial<TrainerOptions>): Promise<Trainer> {
  const complete = { ...defaults, ...defaultAdamW(model.config), ...options };
  for (const name of [
    'learningRate',
    'warmupSteps',
    'totalSteps',
    'weightDecay',
    'beta1',
    'beta2',
    'epsilon',
  ] as const) {
    if (!Number.isFinite(complete[name]))
      throw new RangeError(`${name} is ${complete[name]}, expected a number`);
  }
  if (typeof complete.dropout === 'number' && !(complete.dropout >= 0 && complete.dropout < 1)) {
    throw new RangeError(`dropout is ${complete.dropout}, expected a rate from 0 to below 1`);
  }
  return Trainer.create(model, complete);
}

function pixelsOf({ pixels }: TrainingBatch): Float32Array {
  if (pixels === undefined) throw new TypeError('the batch has no pixels');
  return pixels;
}

function diagonalShare({ data }: HostTensor): number {
  let hits = 0;
  for (let i = 0; i < data.length; i++) if (data[i] === i) hits++;
  return hits / data.length;
}
