import type { RunConfig, StageConfig } from '../config/training.js';
import { memoryThere } from '../io/memory.js';
import type { ModelConfig } from '../model/config.js';
import { estimateMemory, type MemoryEstimate } from './memory.js';
import type { Stage } from './stage.js';

/** The reference's finetuning of MUGE and Flickr30K-CN: 128 pairs on each of 8 GPUs. */
const recipe = { learningRate: 5e-5, batchSize: 1024 };
/** Models below this size take larger rates. */
const SMALLEST_RELEASED = 50e6;
/** By how much a learning rate may exceed the recipe's. */
const FAR = 4;

/**
 * Says before a stage what is likely to go wrong in it, each in one line.
 *
 * @param isTrainedAlready the model starts from weights, which a large learning rate would spoil
 */
export function warnAhead(
  stage: Stage,
  model: ModelConfig,
  config: RunConfig,
  isTrainedAlready: boolean,
  report: (line: string) => void,
): void {
  const { settings, prefix } = stage;
  const memory = estimateMemory(model, settings, config);
  const rate = scaledRate(settings);
  const canSpoil = isTrainedAlready && settings.lora.rank === 0;
  if (canSpoil && memory.parameters > SMALLEST_RELEASED && settings.learningRate > FAR * rate) {
    report(
      `warning: ${prefix}learningRate ${settings.learningRate} is far above the recipe's for batches of ` +
        `${settings.batchSize}, about ${rate.toExponential(1)} (${recipe.learningRate} at ${recipe.batchSize}): ` +
        'what was learnt may be lost',
    );
  }
  const there = memoryThere();
  // With tfjs the memory of a GPU counts, which nothing here tells.
  if (config.engine === 'onnx' && memory.total > there) {
    report(
      `warning: ${stage.name} needs about ${gigabytes(memory.total)}, there are ${gigabytes(there)}: ` +
        remedy(settings, prefix, memory),
    );
  }
}

/** AdamW's rate goes with the square root of the batch (Malladi et al., 2022). */
function scaledRate({ batchSize }: StageConfig): number {
  return recipe.learningRate * Math.sqrt(batchSize / recipe.batchSize);
}

/** What to change of the largest part. */
function remedy(
  settings: StageConfig,
  prefix: string,
  { activations, states, pixels }: MemoryEstimate,
): string {
  if (pixels > Math.max(activations, states)) return 'lower readAhead, or the batch size';
  if (states > activations) return `set ${prefix}lora.rank, freeze more, or take a smaller model`;
  const accumulate = `raise ${prefix}accumulate (${settings.accumulate})`;
  return settings.checkpointing ? accumulate : `${accumulate}, or set ${prefix}checkpointing: true`;
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Steps over which losses are averaged. */
const WINDOW = 50;

/** Tells once, after the warm-up, when the loss is still what guessing would give: ln of the batch size. */
export class ChanceLossGuard {
  private readonly losses: number[] = [];
  private isDone = false;

  constructor(private readonly settings: Pick<StageConfig, 'batchSize' | 'warmupSteps' | 'learningRate'>) {}

  /** @param step counted from 1 */
  warn(step: number, loss: number): string | undefined {
    const { batchSize, warmupSteps, learningRate } = this.settings;
    if (this.isDone || step <= warmupSteps) return undefined;
    this.losses.push(loss);
    if (this.losses.length < WINDOW) return undefined;
    this.isDone = true;
    const mean = this.losses.reduce((sum, value) => sum + value, 0) / WINDOW;
    const chance = Math.log(batchSize);
    if (mean < 0.97 * chance) return undefined;
    return (
      `warning: ${WINDOW} steps after the warm-up the loss is ${mean.toFixed(3)}, and ln(${batchSize}) = ` +
      `${chance.toFixed(3)} is what guessing gives: check that captions belong to their pictures, and the learning rate (${learningRate})`
    );
  }
}
