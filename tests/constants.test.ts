import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matMul, type Tensor2D } from '@tensorflow/tfjs-core';
import { engines } from './support.js';

for (const engine of engines) {
  test(`constants need not be fed, and are followed when they change (${engine.description})`, async () => {
    const w = engine.tensor([2, 2], Float32Array.of(1, 2, 3, 4));
    const signature = {
      inputs: {
        x: { shape: ['n', 2], dtype: 'float32' },
        w: { shape: [2, 2], dtype: 'float32' },
      },
    } as const;
    const program = await engine.compile(
      ({ x, w }) => ({ y: matMul(x as Tensor2D, w as Tensor2D) }),
      signature,
      { w },
    );
    const run = async () => {
      const { y } = await program.run({ x: { shape: [1, 2], data: Float32Array.of(1, 10) } });
      return [...y.data];
    };
    assert.deepEqual(await run(), [31, 42]);
    assert.deepEqual(await run(), [31, 42]);
    w.write(Float32Array.of(5, 6, 7, 8));
    assert.deepEqual(await run(), [75, 86]);
    engine.scale(w, 2);
    assert.deepEqual(await run(), [150, 172]);
    const [gradient, first, second] = [1, 0, 0].map((value) =>
      engine.tensor([2, 2], new Float32Array(4).fill(value)),
    );
    const factors = { beta1: 0, beta2: 0, epsilon: 0, decay: 1, stepSize: 10, inverseCorrection: 1 };
    await engine.adamw([{ weight: w, gradient, moments: { first, second }, factors }]);
    assert.deepEqual(await run(), [40, 62]);
    await program.dispose();
  });
}
