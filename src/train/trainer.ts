import { floats, requireTensor } from '../checkpoint/floats.js';
import { momentTensors, type OptimizerState, type TrainingState } from '../checkpoint/trainingState.js';
import { type DeviceTensor, type HostTensor, lazyTensor, type Moments, readAll } from '../engine/engine.js';
import { UserError } from '../errors.js';
import type { LazyTensors } from '../io/tensor.js';
import { adapterTensors, readAdaptersInto } from '../model/lora.js';
import type { Model } from '../model/model.js';
import { sizeOf } from '../shape.js';
import { Accumulation } from './accumulate.js';
import { adamwFactors } from './adamw.js';
import { prepareBatch, type TrainingBatch } from './batch.js';
import { type BackwardPass, SinglePass, updateName } from './gradients.js';
import { completeOptions, type TrainerOptions } from './options.js';
import { trainedParameters, trainingPlan } from './plan.js';
import { learningRateAt, type Schedule } from './schedule.js';
import type { TrainingPlan } from './towers.js';

export type { TrainingBatch } from './batch.js';
export type { TrainerOptions } from './options.js';

export interface StepResult {
  loss: number;
  /** the learning rate this step was taken with */
  learningRate: number;
  /** share of images whose nearest text in the batch is their own */
  imageToTextAccuracy: number;
  textToImageAccuracy: number;
  /** exp(logit_scale) after the step */
  logitScale: number;
  /** the gradient's global norm before it is clipped; only with `clipNorm` */
  gradientNorm?: number;
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
    /** what is trained, by name: weights, or their adapters */
    private readonly parameters: ReadonlyMap<string, DeviceTensor>,
    private readonly plan: TrainingPlan,
    private readonly pass: BackwardPass,
  ) {
    for (const [name, { shape }] of parameters) {
      this.gradients.set(name, model.engine.tensor(shape));
      this.moments.set(name, { first: model.engine.tensor(shape), second: model.engine.tensor(shape) });
    }
  }

  static async create(model: Model, options: TrainerOptions): Promise<Trainer> {
    await model.expectConstantWeights(false);
    const parameters = await trainedParameters(model, options);
    const plan = trainingPlan(model, options, [...parameters.keys()]);
    const pass =
      options.accumulate === 1
        ? await SinglePass.create(plan)
        : await Accumulation.create(plan, options.accumulate);
    return new Trainer(model, options, parameters, plan, pass);
  }

  /** Names of what is trained. */
  get trainable(): string[] {
    return [...this.parameters.keys()];
  }

  /** How many values are trained. */
  get trainableCount(): number {
    return [...this.parameters.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  }

  /** All weights, frozen ones too. On the onnx engine the arrays are the storage itself, until the next step. */
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
    const gradientNorm = this.clip();
    const learningRate = learningRateAt(this.options, this.stepCount);
    this.stepCount++;
    this.updateCount++;
    await this.model.engine.adamw(
      [...this.parameters].map(([name, weight]) => ({
        weight,
        gradient: this.gradients.get(name)!,
        moments: this.moments.get(name)!,
        factors: adamwFactors(this.options, name, learningRate, this.updateCount),
      })),
    );
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
      ...(gradientNorm !== undefined && { gradientNorm }),
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
   * What a checkpoint of a run with adapters needs besides the merged weights: the adapters, and the weights below them
   * as `NAME.lora_base`. Undefined without adapters.
   */
  get adapterTensors(): LazyTensors | undefined {
    return adapterTensors(this.model);
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
    if (this.model.adapters.size > 0) readAdaptersInto(this.model, training.adapters ?? new Map(), path);
    each((tensor, name) => tensor.write(floats(stored, name, tensor.shape, path)));
    this.stepCount = training.step;
    this.updateCount = optimizer.step;
  }

  async dispose(): Promise<void> {
    await this.pass.dispose();
    for (const tensor of this.gradients.values()) tensor.dispose();
    for (const { first, second } of this.moments.values()) {
      first.dispose();
      second.dispose();
    }
  }

  /** Runs forward and backward pass; the gradients stay on the engine. */
  private async backward(batch: TrainingBatch): Promise<Record<string, HostTensor>> {
    const prepared = await prepareBatch(this.plan, this.options, batch, this.stepCount);
    return this.pass.run(prepared, this.model.feeds, this.gradients);
  }

  /** Scales the gradients down to the largest norm that is allowed, as PyTorch does, and returns their norm. */
  private clip(): number | undefined {
    const { clipNorm } = this.options;
    if (clipNorm === 0) return undefined;
    const { engine } = this.model;
    const norm = engine.norm(this.gradients.values());
    const factor = clipNorm / (norm + 1e-6);
    if (factor < 1) for (const gradient of this.gradients.values()) engine.scale(gradient, factor);
    return norm;
  }

  private clampLogitScale(): number {
    const tensor = this.model.weights.get('logit_scale')!;
    if (!this.parameters.has('logit_scale')) return Math.exp(tensor.read()[0]);
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
 * @throws UserError for options that exclude each other, don't suit the model, or leave nothing to train
 */
export async function createTrainer(
  model: Model,
  options: Schedule & Partial<TrainerOptions>,
): Promise<Trainer> {
  return Trainer.create(model, completeOptions(options, model.config));
}

function diagonalShare({ data }: HostTensor): number {
  let hits = 0;
  for (let i = 0; i < data.length; i++) if (data[i] === i) hits++;
  return hits / data.length;
}
