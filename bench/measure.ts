import { createEngine } from '../src/engine/select.js';
import { loadModelConfig } from '../src/model/config.js';
import { createModel } from '../src/model/load.js';
import { Random } from '../src/random.js';
import { createTrainer } from '../src/train/trainer.js';
import { median, timedRuns } from './timing.js';

export interface Workload {
  model: string;
  batchSize: number;
  contextLength: number;
  /** timed repetitions, after two that are not */
  steps: number;
  engine: string;
  provider: string;
}

export interface Measurement {
  model: string;
  engine: string;
  what: 'training step' | 'image tower' | 'text tower';
  batchSize: number;
  contextLength: number;
  medianSeconds: number;
  minSeconds: number;
  maxSeconds: number;
  samplesPerSecond: number;
}

/** The vocabulary of a model whose config leaves it to the data. */
export const SMALL_VOCABULARY = 2000;

/** Times a model with random weights on random pixels and texts that fill the context. */
export async function measure(workload: Workload): Promise<Measurement[]> {
  const { batchSize, contextLength } = workload;
  const config = loadModelConfig(workload.model, { vocabSize: SMALL_VOCABULARY });
  const engine = await createEngine(workload.engine, workload.provider);
  const model = createModel(config, engine, 0);
  const random = new Random(0, 'bench');
  const side = config.image_resolution;
  const pixels = Float32Array.from({ length: batchSize * 3 * side * side }, () => random.normal());
  const ids = Int32Array.from(
    { length: batchSize * contextLength },
    () => 1 + random.integer(config.vocab_size - 1),
  );

  const timed = async (what: Measurement['what'], run: () => Promise<unknown>): Promise<Measurement> => {
    const seconds = await timedRuns(workload.steps, run);
    const medianSeconds = median(seconds);
    return {
      model: workload.model,
      engine: engine.description,
      what,
      batchSize,
      contextLength,
      medianSeconds,
      minSeconds: Math.min(...seconds),
      maxSeconds: Math.max(...seconds),
      samplesPerSecond: batchSize / medianSeconds,
    };
  };

  const measurements = [
    await timed('image tower', () => model.encodeImages(pixels, batchSize)),
    await timed('text tower', () => model.encodeTexts(ids, batchSize, contextLength)),
  ];
  const schedule = { learningRate: 1e-5, warmupSteps: 10, totalSteps: 1000 };
  const trainer = await createTrainer(model, schedule);
  const batch = { pixels, ids, n: batchSize, length: contextLength };
  measurements.push(await timed('training step', () => trainer.step(batch)));
  await trainer.dispose();
  await model.dispose();
  return measurements;
}
