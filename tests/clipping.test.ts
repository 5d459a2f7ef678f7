import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTrainer } from '../src/train/trainer.js';
import { engines, randomBatch, relativeL2, tinyModel, trainerDefaults } from './support.js';

for (const engine of engines) {
  test(`${engine.description}: gradients are scaled down to the largest norm, shorter ones are not`, async () => {
    const firstMoments = async (clipNorm: number) => {
      const trainer = await createTrainer(tinyModel(engine), { ...trainerDefaults, clipNorm });
      const batch = randomBatch(trainer.model.config, 4, 7, 'clip');
      const { gradients } = await trainer.lossAndGradients(batch);
      const { gradientNorm } = await trainer.step(batch);
      // After one step the first moment is the gradient that AdamW saw, times 1 − beta1.
      const seen = [...trainer.moments].map(([name, { first }]) => ({
        name,
        gradient: gradients.get(name)!,
        moment: first.read().map((value) => value * 10),
      }));
      return { gradientNorm, seen };
    };
    const free = await firstMoments(0);
    assert.equal(free.gradientNorm, undefined);
    const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
    const norm = Math.sqrt(free.seen.reduce((sum, { gradient }) => sum + square(gradient), 0));

    for (const clipNorm of [norm / 4, norm * 4]) {
      const { gradientNorm, seen } = await firstMoments(clipNorm);
      assert.ok(Math.abs(gradientNorm! - norm) < 1e-4 * norm);
      const factor = Math.min(1, clipNorm / (norm + 1e-6));
      for (const { name, gradient, moment } of seen) {
        if (name.endsWith('attention.self.key.bias')) continue;
        assert.ok(
          relativeL2(
            moment,
            gradient.map((value) => value * factor),
          ) < 1e-4,
          name,
        );
      }
    }
  });
}
