import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as ort from 'onnxruntime-node';
import { encodeOnnx } from '../src/export/encode.js';
import { node, type OnnxModel } from '../src/export/onnxModel.js';
import { quantized } from '../src/export/quantize.js';
import { tensorOf } from '../src/io/tensor.js';
import { sizeOf } from '../src/shape.js';
import { maxDifference, randomFloats } from './support.js';

/** A model of one product: x of the given shape by a weight. */
function productModel(
  op: 'Gemm' | 'MatMul',
  shape: (number | string)[],
  weight: number[],
  bias?: number[],
): OnnxModel {
  const random = (shape: number[], key: string) =>
    tensorOf(shape, randomFloats(sizeOf(shape), 'quantize', key));
  const inputs = ['x', 'weight', ...(bias ? ['bias'] : [])];
  return {
    opset: 17,
    inputs: [{ name: 'x', shape, dtype: 'F32' }],
    outputs: [{ name: 'y', shape: [], dtype: 'F32' }],
    nodes: [node(op, inputs, ['y'], op === 'Gemm' ? { transB: 1 } : {})],
    initializers: new Map([
      ['weight', random(weight, 'weight')],
      ...(bias ? ([['bias', random(bias, 'bias')]] as const) : []),
    ]),
  };
}

async function run(model: OnnxModel, x: ort.Tensor): Promise<ort.Tensor> {
  const bytes = Buffer.concat([...encodeOnnx(model, { withOutputShapes: false })]);
  const session = await ort.InferenceSession.create(bytes);
  const { y } = await session.run({ x });
  await session.release();
  return y;
}

for (const { what, model, x, scales } of [
  {
    what: 'a linear layer',
    model: productModel('Gemm', ['n', 8], [5, 8], [5]),
    x: [3, 8],
    scales: [5],
  },
  {
    what: 'the products of heads',
    model: productModel('MatMul', [1, 2, 'n', 8], [1, 2, 8, 5]),
    x: [1, 2, 3, 8],
    scales: [1, 2, 1, 5],
  },
]) {
  test(`${what} with weights of 8 bits`, async () => {
    const small = quantized(model);
    const weights = [...small.initializers].filter(([name]) => name.startsWith('weight'));
    assert.deepEqual(
      weights.map(([, { dtype }]) => dtype),
      ['I8', 'F32'],
    );
    assert.deepEqual(weights[1][1].shape, scales);
    const input = new ort.Tensor('float32', randomFloats(sizeOf(x), 'quantize', 'x'), x);
    const [expected, actual] = [await run(model, input), await run(small, input)];
    assert.deepEqual(actual.dims, expected.dims);
    const difference = maxDifference(actual.data as Float32Array, expected.data as Float32Array);
    // Eight products of values below 1, each off by half a step of 1/63 and one of 2/255 at most.
    assert.ok(difference > 0 && difference < 8 * (0.5 / 63 + 1 / 255), `${difference}`);
  });
}

test('products that are no linear layer stay as they are', () => {
  const projection = productModel('Gemm', ['n', 8], [5, 8]);
  const flat = productModel('MatMul', ['n', 8], [8, 5]);
  for (const model of [projection, flat]) assert.deepEqual(quantized(model).nodes, model.nodes);
});
