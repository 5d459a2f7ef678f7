import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { type AttentionOptions, attention, singleQueryAttention, splitHeads } from '../src/nn/attention.js';
import { type LinearWeights, project } from '../src/nn/layers.js';
import { sizeOf } from '../src/shape.js';
import { maxDifference, randomFloats } from './support.js';

const [batch, tokens, heads, headWidth, inputs, rank] = [3, 5, 2, 4, 6, 2];
const width = heads * headWidth;

const shapes = {
  query: [batch, width],
  x: [batch * tokens, inputs],
  keyWeight: [width, inputs],
  keyBias: [width],
  valueWeight: [width, inputs],
  valueBias: [width],
  a: [rank, inputs],
  b: [width, rank],
  scale: [],
};

function weightsOf(given: Record<string, Tensor>, adapted: boolean): Record<'key' | 'value', LinearWeights> {
  const { a, b, scale } = given;
  const adapter = adapted ? { a: a as Tensor2D, b: b as Tensor2D, scale } : undefined;
  return {
    key: { weight: given.keyWeight as Tensor2D, bias: given.keyBias as Tensor1D, adapter },
    value: { weight: given.valueWeight as Tensor2D, bias: given.valueBias as Tensor1D, adapter },
  };
}

for (const { what, masked, dropped, adapted } of [
  { what: 'alone', masked: false, dropped: false, adapted: false },
  { what: 'with a mask', masked: true, dropped: false, adapted: false },
  { what: 'with dropout', masked: false, dropped: true, adapted: false },
  { what: 'with adapters', masked: false, dropped: false, adapted: true },
  { what: 'with all of them', masked: true, dropped: true, adapted: true },
]) {
  test(`one query gets from the tokens what it gets from their keys and values: ${what}`, () => {
    assert.ok(tf.setBackend('cpu'));
    tf.tidy(() => {
      const random = (shape: number[], key: string) =>
        tf.tensor(randomFloats(sizeOf(shape), 'attention', key), shape);
      const given = Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [name, random(shape, name)]),
      );
      const outer = random([batch, width], 'outer');
      const probabilities = [batch, heads, 1, tokens];
      // The last two tokens of each sequence are padding.
      const mask = tf.tensor([0, 0, 0, -10000, -10000], [1, 1, 1, tokens]);
      const factors = tf.mul(tf.cast(tf.greater(random(probabilities, 'dropout'), -0.4), 'float32'), 1.25);
      const options: AttentionOptions = {
        ...(masked && { bias: mask }),
        ...(dropped && { dropout: factors }),
      };
      const names = Object.keys(given).filter((name) => adapted || !['a', 'b', 'scale'].includes(name));

      const run = (form: (given: Record<string, Tensor>) => Tensor2D) => {
        const f = (...values: Tensor[]) =>
          form({ ...given, ...Object.fromEntries(names.map((name, i) => [name, values[i]])) });
        const values = names.map((name) => given[name]);
        return [f(...values), ...tf.grads(f)(values, outer)].map((tensor) => tensor.dataSync());
      };
      const fromTokens = run((given) =>
        singleQueryAttention(given.query as Tensor2D, given.x as Tensor2D, weightsOf(given, adapted), {
          ...options,
          tokens,
          heads,
        }),
      );
      const fromKeys = run((given) => {
        const { key, value } = weightsOf(given, adapted);
        const [k, v] = [key, value].map((layer) => splitHeads(project(layer, given.x), tokens, heads));
        return attention(splitHeads(given.query, 1, heads), k, v, options);
      });
      for (const [i, name] of ['result', ...names].entries()) {
        // Softmax does not see what a key's bias adds to all scores alike.
        if (name !== 'keyBias') assert.ok(Math.max(...fromKeys[i].map(Math.abs)) > 1e-2, `${name} is zero`);
        assert.ok(maxDifference(fromTokens[i], fromKeys[i]) < 1e-5, name);
      }
    });
  });
}
