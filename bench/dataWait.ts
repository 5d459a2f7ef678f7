import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { openDataset } from '../src/data/dataset.js';
import { BatchLoader } from '../src/data/loader.js';
import { createEngine } from '../src/engine/select.js';
import { loadModelConfig } from '../src/model/config.js';
import { createModel } from '../src/model/load.js';
import { Random } from '../src/random.js';
import { Tokenizer } from '../src/text/tokenizer.js';
import { buildVocabulary } from '../src/text/vocabulary.js';
import { createTrainer } from '../src/train/trainer.js';
import type { Workload } from './measure.js';
import { median } from './timing.js';

export interface DataWait {
  model: string;
  engine: string;
  batchSize: number;
  /** bytes of a JPEG file, on average */
  pictureBytes: number;
  medianStepSeconds: number;
  medianWaitSeconds: number;
  maxWaitSeconds: number;
  /** of all timed steps together: time waited for data, by time in all */
  waitShare: number;
}

/** As many as several batches, so that no batch is like the one before. */
const PICTURES = 128;
/** A usual size of photographs in datasets. */
const WIDTH = 500;
const HEIGHT = 375;
const READ_AHEAD = 4;

/**
 * Trains on JPEG files as `pretrain` does, with its loader and its defaults, and tells how much of the time was spent
 * waiting for data.
 */
export async function measureDataWait(workload: Workload & { workers: number }): Promise<DataWait> {
  const { batchSize, steps } = workload;
  const directory = mkdtempSync(join(tmpdir(), 'cn-clip-bench-'));
  try {
    const { pictureBytes, captions } = await writeDataset(directory);
    const vocabulary = buildVocabulary(captions, { maxSize: 2000, minFrequency: 1 });
    const config = loadModelConfig(workload.model, { vocabSize: vocabulary.length });
    const engine = await createEngine(workload.engine, workload.provider);
    const model = createModel(config, engine, 0);
    const dataset = await openDataset(directory, { split: 'train' });
    const loader = new BatchLoader({
      dataset,
      tokenizer: new Tokenizer(vocabulary),
      resolution: config.image_resolution,
      contextLength: workload.contextLength,
      batchSize,
      seed: 0,
      shuffle: true,
      workers: workload.workers,
      readAhead: READ_AHEAD,
      pixels: true,
    });
    const trainer = await createTrainer(model, { learningRate: 1e-5, warmupSteps: 10, totalSteps: 1000 });
    const waits: number[] = [];
    const times: number[] = [];
    // The first steps compile the program and start the workers.
    let step = -2;
    let began = performance.now();
    for (let epoch = 0; step < steps; epoch++) {
      for await (const batch of loader.batches(epoch)) {
        // Measured here, not by the loader: all that happens between two steps.
        const waited = (performance.now() - began) / 1000;
        await trainer.step(batch);
        if (step >= 0) {
          waits.push(waited);
          times.push((performance.now() - began) / 1000);
        }
        if (++step >= steps) break;
        began = performance.now();
      }
    }
    await loader.close();
    await trainer.dispose();
    await model.dispose();
    dataset.close();
    return {
      model: workload.model,
      engine: engine.description,
      batchSize,
      pictureBytes,
      medianStepSeconds: median(times),
      medianWaitSeconds: median(waits),
      maxWaitSeconds: Math.max(...waits),
      waitShare: sum(waits) / sum(times),
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** A split of JPEG files that are as hard to decode as photographs: coarse and fine random structure in colour. */
async function writeDataset(directory: string): Promise<{ pictureBytes: number; captions: string[] }> {
  const captions = Array.from(
    { length: PICTURES },
    (_, i) => `第${i}张图片，街上有人骑自行车，旁边停着一辆红色的汽车`,
  );
  const lines: string[] = [];
  let bytes = 0;
  for (let i = 0; i < PICTURES; i++) {
    const random = new Random(0, 'picture', i);
    const layer = (width: number, height: number) =>
      sharp(Buffer.from(Uint8Array.from({ length: width * height * 3 }, () => random.integer(256))), {
        raw: { width, height, channels: 3 },
      }).resize(WIDTH, HEIGHT, { kernel: 'cubic', fit: 'fill' });
    const fine = await layer(125, 94).ensureAlpha(0.25).png().toBuffer();
    const jpeg = await sharp(await layer(10, 8).png().toBuffer())
      .composite([{ input: fine }])
      .jpeg({ quality: 90 })
      .toBuffer();
    bytes += jpeg.length;
    lines.push(`${i}\t${jpeg.toString('base64')}`);
  }
  writeFileSync(join(directory, 'train_imgs.tsv'), `${lines.join('\n')}\n`);
  const texts = captions.map((text, i) => JSON.stringify({ text_id: i, text, image_ids: [i] }));
  writeFileSync(join(directory, 'train_texts.jsonl'), `${texts.join('\n')}\n`);
  return { pictureBytes: bytes / PICTURES, captions };
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
