import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../src/engine/engine.js';
import { distillationLoss } from '../src/train/distillation.js';
import { createTrainer } from '../src/train/trainer.js';
import { assertSameGradients, engines, onnx, randomBatch, tinyModel, trainerDefaults } from './support.js';

/** The distance of features [2, width] whose values follow a rule. */
async function distance(engine: Engine, teacherWidth: number, studentWidth: number): Promise<number> {
  const rows = (width: number, f: (i: number) => number) => ({
    data: Float32Array.from({ length: 2 * width }, (_, i) => f(i)),
    shape: [2, width],
  });
  const program = await engine.compile(
    ({ teacher, student, count }) => ({
      loss: distillationLoss(teacher as Tensor2D, student as Tensor2D, count),
    }),
    {
      inputs: {
        teacher: { shape: ['n', teacherWidth], dtype: 'float32' },
        student: { shape: ['n', studentWidth], dtype: 'float32' },
        count: { shape: [], dtype: 'float32' },
      },
    },
  );
  const { loss } = await program.run({
    teacher: rows(teacherWidth, (i) => Math.sin(i + 1)),
    student: rows(studentWidth, (i) => Math.cos(2 * i)),
    count: { data: Float32Array.of(2), shape: [] },
  });
  return loss.data[0];
}

/** Widths of teacher and student, and what cosineSimilarityLoss of the reference gives with PyTorch 1.13. */
const referenceDistances = [
  [5, 5, 1.0023837],
  [7, 4, 0.5884197],
  [4, 7, 1.061887],
  [12, 8, 0.8671036],
];

for (const engine of engines) {
  test(`${engine.description}: the distance from the teacher is the reference's, at any width`, async () => {
    for (const [teacher, student, expected] of referenceDistances) {
      const found = await distance(engine, teacher, student);
      assert.ok(Math.abs(found - expected) < 1e-5, `${teacher} from ${student}: ${found}, not ${expected}`);
    }
  });

  test(`${engine.description}: a teacher adds its distance to the loss, from pixels or cached features`, async () => {
    const teacher = tinyModel(engine, { embed_dim: 48 }, 9);
    const model = tinyModel(engine);
    const batch = randomBatch(model.config, 4, 7, 'teacher');
    const alone = await createTrainer(model, trainerDefaults);
    const { loss } = await alone.lossAndGradients(batch);
    const teacherFeatures = await teacher.encodeImages(batch.pixels, batch.n);
    const images = await model.encodeImages(batch.pixels, batch.n);
    tf.setBackend('cpu');
    const expected = tf.tidy(
      () =>
        distillationLoss(
          tf.tensor2d(teacherFeatures, [4, 48]),
          tf.tensor2d(images, [4, 32]),
          tf.scalar(4),
        ).dataSync()[0],
    );
    const distillationWeight = 0.7;
    const taught = await createTrainer(model, { ...trainerDefaults, teacher, distillationWeight });
    const fromPixels = await taught.lossAndGradients(batch);
    assert.ok(Math.abs(fromPixels.loss - (loss + distillationWeight * expected)) < 1e-5);
    const cached = await taught.lossAndGradients({ ...batch, teacherFeatures });
    assert.equal(cached.loss, fromPixels.loss);
    const parts = await createTrainer(model, {
      ...trainerDefaults,
      teacher,
      distillationWeight,
      accumulate: 2,
    });
    assertSameGradients((await parts.lossAndGradients(batch)).gradients, fromPixels.gradients);
  });
}

test('a teacher of another resolution sees the pictures that were resized for it', async () => {
  const teacher = tinyModel(onnx, { embed_dim: 48, image_resolution: 16 }, 9);
  const model = tinyModel(onnx);
  const batch = randomBatch(model.config, 4, 7, 'teacher');
  const { pixels: teacherPixels } = randomBatch(teacher.config, 4, 7, 'small');
  for (const accumulate of [1, 2]) {
    const trainer = await createTrainer(model, { ...trainerDefaults, teacher, accumulate });
    const fromPixels = await trainer.lossAndGradients({ ...batch, teacherPixels });
    const teacherFeatures = await teacher.encodeImages(teacherPixels, 4);
    const cached = await trainer.lossAndGradients({ ...batch, teacherFeatures });
    assertSameGradients(fromPixels.gradients, cached.gradients, 1e-6);
    await assert.rejects(trainer.step(batch), /the batch has no teacherPixels, pictures of 16 a side/);
    await assert.rejects(
      trainer.step({ ...batch, teacherPixels: batch.pixels }),
      /teacherPixels: 12288 values, expected 3072/,
    );
  }
});

test('features of the teacher that do not fit are an error', async () => {
  const teacher = tinyModel(onnx, { embed_dim: 48 }, 9);
  const trainer = await createTrainer(tinyModel(onnx), { ...trainerDefaults, teacher });
  const batch = randomBatch(trainer.model.config, 3, 6, 'wrong');
  await assert.rejects(
    trainer.step({ ...batch, teacherFeatures: new Float32Array(96) }),
    /teacherFeatures: 96 values, expected 144/,
  );
});
