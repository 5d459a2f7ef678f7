import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { HostTensor, Program, TensorFunction } from '../src/engine/engine.js';
import { kernels } from '../src/engine/onnx/kernels/register.js';
import { record } from '../src/engine/onnx/recorder.js';
import { sizeOf } from '../src/shape.js';
import type { CaseInput, KernelCase } from './kernelCase.js';
import { kernelCases } from './kernelCases.js';
import { layerCases } from './layerCases.js';
import { maxDifference, noteCalls, onnx, randomFloats, randomIntegers, tfjs } from './support.js';

const recorder = 'onnx-recorder';
const recorded = new Set<string>();
const computed = new Set<string>();
const differentiated = new Set<string>();

before(() => {
  // The recorder's backend registers itself with the first recording.
  record(({ x }) => ({ y: x }), { inputs: { x: { shape: [1], dtype: 'float32' } } });
  for (const name of Object.keys(kernels)) {
    noteCalls(tf.getKernel(name, recorder), 'kernelFunc', () => recorded.add(name));
    noteCalls(tf.getKernel(name, 'cpu'), 'kernelFunc', () => computed.add(name));
    noteCalls(tf.getGradient(name), 'gradFunc', () => differentiated.add(name));
  }
});

const cases = [...kernelCases, ...layerCases];
for (const [index, kernelCase] of cases.entries()) {
  const shapes = Object.values(kernelCase.inputs).map(({ shape }) => `[${shape}]`);
  test(`${kernelCase.kernel} of ${shapes.join(' ')} (case ${index})`, async () => {
    recorded.delete(kernelCase.kernel);
    await checkCase(kernelCase, index);
    assert.ok(recorded.has(kernelCase.kernel), `the case records no ${kernelCase.kernel}`);
  });
}

test('no kernel and no gradient is without a case', () => {
  const names = Object.keys(kernels);
  const without = (known: ReadonlySet<string>) => names.filter((name) => !known.has(name)).sort();
  assert.deepEqual(without(new Set(cases.map(({ kernel }) => kernel))), []);
  // The rest was compared with the kernel of that name in TensorFlow.js, these with compositions of others.
  const compositions = [
    'After',
    'AveragePooling',
    'BroadcastTo',
    'Convolution',
    'ConvolutionInputGradient',
    'ConvolutionWeightGradient',
    'Gelu',
    'LayerNormalization',
    'Linear',
    'PadTo',
    'QuickGelu',
    'RepeatPixels',
    'ScaledMatMul',
  ];
  assert.deepEqual(without(computed), compositions);
  const withGradient = names.filter((name) => tf.getGradient(name) !== undefined);
  assert.deepEqual(
    withGradient.filter((name) => !differentiated.has(name)),
    [],
  );
});

/** Runs a case on both engines with several sizes; a differentiable one also against finite differences. */
async function checkCase({ inputs, compute, forwardOnly, sizes }: KernelCase, index: number): Promise<void> {
  const symbolic = Object.values(inputs).some(({ shape }) => shape.some((size) => typeof size === 'string'));
  const runs =
    sizes ??
    (symbolic
      ? [
          { n: 3, m: 2 },
          { n: 1, m: 5 },
          { n: 4, m: 4 },
          { n: 0, m: 2 },
        ]
      : [{ n: 1, m: 1 }]);
  const differentiable = forwardOnly
    ? []
    : Object.keys(inputs).filter((name) => inputs[name].dtype === 'float32');
  const fn = withGradients(compute, differentiable);
  const [recordedProgram, eager] = await Promise.all([
    onnx.compile(fn, { inputs }),
    tfjs.compile(fn, { inputs }),
  ]);
  for (const size of runs) {
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, input]) => [name, fill(input, size, index, name)]),
    );
    const actual = await recordedProgram.run(feeds);
    const expected = await eager.run(feeds);
    for (const [name, { shape, data }] of Object.entries(expected)) {
      const where = `${name} with ${JSON.stringify(size)}`;
      assert.deepEqual([...actual[name].shape], [...shape], `shape of ${where}`);
      assert.equal(actual[name].data.constructor, data.constructor, `type of ${where}`);
      assert.ok(maxDifference(actual[name].data, data) < 2e-5 * (1 + largest(data)), where);
    }
    for (const name of differentiable) await checkGradient(eager, feeds, name, expected);
  }
  await recordedProgram.dispose();
}

/** Outputs y0, y1 … of a function and the gradients of Σ exp(y), which is degenerate for none of the operations. */
function withGradients(compute: KernelCase['compute'], differentiable: string[]): TensorFunction {
  return (inputs) => {
    let outputs: Tensor[] = [];
    const evaluate = () => {
      outputs = [compute(inputs)].flat();
      return outputs.map((y) => tf.sum(tf.exp(y))).reduce((a, b) => tf.add(a, b)) as Scalar;
    };
    const results: Record<string, Tensor> = {};
    if (differentiable.length > 0) {
      const { grads } = tf.valueAndGrads(() => {
        const loss = evaluate();
        outputs = outputs.map((y) => tf.keep(y));
        return loss;
      })(differentiable.map((name) => inputs[name]));
      differentiable.forEach((name, i) => {
        results[`gradient of ${name}`] = grads[i];
      });
    } else {
      outputs = [compute(inputs)].flat();
    }
    outputs.forEach((y, i) => {
      results[`y${i}`] = y;
    });
    return results;
  };
}

/** Compares a gradient along a random direction with the difference of the function on both sides. */
async function checkGradient(
  program: Program,
  feeds: Record<string, HostTensor>,
  name: string,
  results: Record<string, HostTensor>,
): Promise<void> {
  const { shape, data } = feeds[name];
  const direction = randomFloats(data.length, 'direction', name);
  const step = 2 ** -7;
  const losses: number[] = [];
  for (const sign of [1, -1]) {
    const moved = (data as Float32Array).map((value, i) => value + sign * step * direction[i]);
    const outputs = await program.run({ ...feeds, [name]: { shape, data: moved } });
    let loss = 0;
    for (const [output, { data }] of Object.entries(outputs)) {
      if (output.startsWith('y')) for (const value of data) loss += Math.exp(value);
    }
    losses.push(loss);
  }
  const numeric = (losses[0] - losses[1]) / (2 * step);
  const gradient = results[`gradient of ${name}`].data;
  let along = 0;
  let magnitude = 1;
  for (let i = 0; i < gradient.length; i++) {
    along += gradient[i] * direction[i];
    magnitude += Math.abs(gradient[i]);
  }
  assert.ok(
    Math.abs(along - numeric) < 2e-3 * magnitude,
    `gradient of ${name}: ${along} along a direction in which differences give ${numeric}`,
  );
}

function fill(
  { shape, dtype, values }: CaseInput,
  sizes: Readonly<Record<string, number>>,
  ...key: (number | string)[]
): HostTensor {
  const numbers = shape.map((size) => (typeof size === 'string' ? sizes[size] : size));
  const length = sizeOf(numbers);
  if (typeof values === 'object') {
    const integers = randomIntegers(length, values.below, ...key);
    return { shape: numbers, data: dtype === 'bool' ? Uint8Array.from(integers) : integers };
  }
  const floats = randomFloats(length, ...key);
  const data = floats.map((value) =>
    values === 'positive' ? 1 + value / 2 : values === 'coarse' ? Math.round(value * 2) / 2 : value,
  );
  return { shape: numbers, data };
}

function largest(values: ArrayLike<number>): number {
  let result = 0;
  for (let i = 0; i < values.length; i++) result = Math.max(result, Math.abs(values[i]));
  return result;
}
