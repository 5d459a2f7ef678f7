import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import * as ort from 'onnxruntime-node';
import type { Signature, TensorFunction } from '../src/engine/engine.js';
import { encodeModel } from '../src/engine/onnx/protobuf.js';
import { record } from '../src/engine/onnx/recorder.js';
import { gelu, layerNorm, quickGelu, scaledMatMul } from '../src/nn/fused.js';
import { embedding } from '../src/nn/layers.js';
import { sizeOf } from '../src/shape.js';
import { bytesOf, engines, maxDifference, onnx, randomFloats, randomIntegers, tfjs } from './support.js';

/** A function of one float tensor [n, 3]. */
const signature: Signature = { inputs: { x: { shape: ['n', 3], dtype: 'float32' } } };
const of =
  (f: (x: Tensor) => Tensor): TensorFunction =>
  ({ x }) => ({ y: f(x) });

test('a kernel without an ONNX form is an error that names it', () => {
  assert.throws(
    () =>
      record(
        of((x) => tf.tanh(x)),
        signature,
      ),
    /the TensorFlow\.js kernel 'Tanh' has no ONNX form: add it in src\/engine\/onnx\/kernels/,
  );
});

test('a symbolic dimension that leaks into a value is an error that says so', () => {
  const leaks: [string, (x: Tensor) => Tensor][] = [
    ['a factor', (x) => tf.mul(x, 1 / x.shape[0])],
    ['a mean', (x) => tf.mul(tf.sum(x), 1 / x.size)],
    ['a comparison', (x) => tf.notEqual(x, x.shape[0])],
    ['a difference of lengths', (x) => tf.slice(x, [0, 0], [x.shape[0] - 1, 3])],
    ['an array of values', (x) => tf.mul(x, tf.tensor(new Float32Array(x.size), x.shape))],
    [
      'the number of operations',
      (x) => Array.from({ length: x.shape[0] % 8 }).reduce<Tensor>((y) => tf.neg(y), x),
    ],
  ];
  for (const [what, leak] of leaks) {
    assert.throws(
      () => record(of(leak), signature),
      /a symbolic dimension leaked into .*Feed the number/,
      what,
    );
  }
  // The same functions of a fixed size are no leak.
  for (const [, fixed] of leaks) {
    assert.ok(record(of(fixed), { inputs: { x: { shape: [4, 3], dtype: 'float32' } } }).nodes.length > 0);
  }
});

test('a recorded function must not read values', async () => {
  const read = (x: Tensor) => tf.mul(x, x.dataSync()[0]);
  assert.throws(() => record(of(read), signature), /a recorded function must not read a tensor's values/);
});

test('an error leaves TensorFlow.js on the backend it was on, and recording usable', () => {
  tf.setBackend('cpu');
  assert.throws(() =>
    record(
      of((x) => tf.tanh(x)),
      signature,
    ),
  );
  assert.equal(tf.getBackend(), 'cpu');
  assert.deepEqual([...tf.tanh(tf.tensor1d([0])).dataSync()], [0]);
  assert.deepEqual(
    [
      ...record(
        of((x) => tf.neg(x)),
        signature,
      ).outputs.keys(),
    ],
    ['y'],
  );
});

test('an output must not have the name of an input', () => {
  assert.throws(() => record(({ x }) => ({ x: tf.neg(x) }), signature), /'x' names an input and an output/);
});

test('what no output needs is not kept', () => {
  const wasteful = of((x) => {
    tf.exp(tf.add(x, 12345));
    return tf.neg(x);
  });
  const graph = record(wasteful, signature);
  assert.deepEqual(
    graph.nodes.map(({ op }) => op),
    ['Neg', 'Identity'],
  );
  assert.equal(graph.constants.size, 0);
});

test('results that nothing else reads come last, the first recorded at the very end', () => {
  const graph = record(({ x }) => {
    const shared = tf.sqrt(x);
    return { read: shared, first: tf.neg(shared), second: tf.exp(shared) };
  }, signature);
  assert.deepEqual(
    graph.nodes.map(({ op }) => op),
    ['Sqrt', 'Exp', 'Neg', 'Identity', 'Identity', 'Identity'],
  );
});

test('stand-ins keep clear of fixed dimensions and of limits', () => {
  // 10,007 is the first prime that would be tried, 59 and 53 the largest below the limit.
  const graph = record(({ x, table, y }) => ({ negX: tf.neg(x), negTable: tf.neg(table), negY: tf.neg(y) }), {
    inputs: {
      x: { shape: ['n', 10_007], dtype: 'float32' },
      table: { shape: [2 * 59, 53], dtype: 'float32' },
      y: { shape: ['length', 'n'], dtype: 'float32' },
    },
    limits: { length: 60 },
  });
  assert.deepEqual(graph.outputs.get('negX')!.shape, ['n', 10_007]);
  assert.deepEqual(graph.outputs.get('negTable')!.shape, [118, 53]);
  assert.deepEqual(graph.outputs.get('negY')!.shape, ['length', 'n']);
  const impossible: Signature = { inputs: { x: { shape: ['n'], dtype: 'float32' } }, limits: { n: 4 } };
  assert.throws(
    () =>
      record(
        of((x) => tf.neg(x)),
        impossible,
      ),
    /no stand-in for dimension 'n' below 4/,
  );
});

for (const engine of engines) {
  test(`${engine.description}: one program runs with every size of its symbolic dimensions`, async () => {
    const program = await engine.compile(
      ({ x, y }) => ({
        product: tf.matMul(x as Tensor2D, y as Tensor2D),
        flat: tf.reshape(x, [x.shape[0] * 2, 2]),
        total: tf.sum(y, 1),
      }),
      { inputs: { x: { shape: ['n', 4], dtype: 'float32' }, y: { shape: [4, 'm'], dtype: 'float32' } } },
    );
    for (const [n, m] of [
      [2, 3],
      [5, 1],
      [3, 3],
      [1, 7],
    ]) {
      const x = randomFloats(n * 4, n, m);
      const y = randomFloats(4 * m, m, n);
      const results = await program.run({ x: { shape: [n, 4], data: x }, y: { shape: [4, m], data: y } });
      assert.deepEqual([...results.product.shape], [n, m]);
      assert.deepEqual([...results.flat.shape], [n * 2, 2]);
      assert.deepEqual(results.flat.data, x);
      assert.deepEqual([...results.total.shape], [4]);
      const product = Array.from({ length: n * m }, (_, i) => {
        const [row, column] = [Math.floor(i / m), i % m];
        return [0, 1, 2, 3].reduce((sum, k) => sum + x[row * 4 + k] * y[k * m + column], 0);
      });
      assert.ok(maxDifference(results.product.data, product) < 1e-6);
    }
    await program.dispose();
  });

  test(`${engine.description}: an input that is not fed, or has another size, is an error`, async () => {
    const program = await engine.compile(({ x, y }) => ({ sum: tf.add(x, y) }), {
      inputs: { x: { shape: ['n', 3], dtype: 'float32' }, y: { shape: [3], dtype: 'float32' } },
    });
    const x = { shape: [1, 3], data: Float32Array.of(1, 2, 3) };
    await assert.rejects(program.run({ x }), /input 'y' was not fed/);
    await assert.rejects(program.run({ x, y: { shape: [3], data: new Float32Array(2) } }));
    const results = await program.run({ x, y: { shape: [3], data: x.data } });
    assert.deepEqual([...results.sum.data], [2, 4, 6]);
    await program.dispose();
  });

  test(`${engine.description}: outputs are written into tensors, also into those that are fed`, async () => {
    const program = await engine.compile(
      ({ weight, x }) => ({ next: tf.add(weight, x), double: tf.mul(x, 2), same: tf.mul(x, 2) }),
      { inputs: { weight: { shape: [4], dtype: 'float32' }, x: { shape: [4], dtype: 'float32' } } },
    );
    const weight = engine.tensor([4], Float32Array.of(1, 2, 3, 4));
    const double = engine.tensor([4]);
    const storage = weight.read();
    const x = { shape: [4], data: Float32Array.of(10, 20, 30, 40) };
    for (let run = 1; run <= 3; run++) {
      const results = await program.run({ weight, x }, { next: weight, double });
      assert.deepEqual(Object.keys(results), ['same']);
      assert.deepEqual([...weight.read()], [1 + 10 * run, 2 + 20 * run, 3 + 30 * run, 4 + 40 * run]);
      assert.deepEqual([...double.read()], [20, 40, 60, 80]);
    }
    if (engine === onnx) assert.equal(weight.read(), storage, 'the values moved to other storage');
    weight.write(Float32Array.of(0, 0, 0, 1));
    await program.run({ weight, x }, { next: weight });
    assert.deepEqual([...weight.read()], [10, 20, 30, 41]);
    await program.dispose();
  });
}

test('what a run writes into tensors is not copied; other results and errors are as they are without', async () => {
  const program = await onnx.compile(
    ({ x, ids }) => ({
      large: tf.mul(x, 2),
      sums: tf.sum(x, 1),
      pairs: tf.reshape(tf.tile(ids, [2]), [-1, 2]),
      isOther: tf.notEqual(ids, tf.scalar(5, 'int32')),
    }),
    { inputs: { x: { shape: ['n', 4096], dtype: 'float32' }, ids: { shape: ['n'], dtype: 'int32' } } },
  );
  const [rows, bytes] = [4096, 4 * 4096 ** 2];
  const x = { shape: [rows, 4096], data: new Float32Array(rows * 4096).fill(0.5) };
  const ids = { shape: [rows], data: Int32Array.from({ length: rows }, (_, i) => i) };
  const large = onnx.tensor([rows, 4096]);
  const before = process.memoryUsage().arrayBuffers;
  const { sums, pairs, isOther } = await program.run({ x, ids }, { large });
  assert.ok(process.memoryUsage().arrayBuffers - before < bytes / 2, 'a result was copied');
  assert.ok(large.read().every((value) => value === 1));
  assert.deepEqual([sums.shape, sums.data[7]], [[rows], 2048]);
  assert.deepEqual(
    [pairs.shape, [...pairs.data.slice(2, 4)]],
    [
      [rows, 2],
      [2, 3],
    ],
  );
  assert.deepEqual([isOther.shape, [...isOther.data.slice(5, 7)]], [[rows], [0, 1]]);
  await assert.rejects(program.run({ x, ids }, { large: onnx.tensor([2, 4096]) }), /shape/);
  await program.dispose();
});

test('rows that share an id are summed exactly, in every run alike', async () => {
  const [rows, width, count] = [5000, 192, 6000];
  const program = await onnx.compile(
    ({ table, ids, dy }) => ({
      gradient: tf.grad((t) => tf.sum(tf.mul(embedding(t as Tensor2D, ids as Tensor1D), dy)))(table),
    }),
    {
      inputs: {
        table: { shape: [rows, width], dtype: 'float32' },
        ids: { shape: ['n'], dtype: 'int32' },
        dy: { shape: ['n', width], dtype: 'float32' },
      },
    },
  );
  // Half of all ids are one of three rows, as [CLS], [SEP] and [PAD] are; the others meet now and then.
  const ids = randomIntegers(count, rows, 'ids').map((id, i) => (i % 2 === 0 ? i % 3 : id));
  const table = onnx.tensor([rows, width]);
  const gradient = onnx.tensor([rows, width]);
  const run = (dy: Float32Array) =>
    program.run(
      { table, ids: { shape: [count], data: ids }, dy: { shape: [count, width], data: dy } },
      { gradient },
    );

  // Whole numbers add up exactly in any order: a sum that differs has lost a row.
  const whole = randomFloats(sizeOf([count, width]), 'whole').map((value) => Math.round(value * 64));
  const expected = new Float32Array(rows * width);
  for (let i = 0; i < whole.length; i++)
    expected[ids[Math.floor(i / width)] * width + (i % width)] += whole[i];
  for (let repeat = 0; repeat < 5; repeat++) {
    await run(whole);
    assert.deepEqual(bytesOf(gradient.read()), bytesOf(expected));
  }

  // Fractions round, so only one order of adding gives the same bits.
  const fractions = randomFloats(sizeOf([count, width]), 'fractions');
  await run(fractions);
  const first = gradient.read().slice();
  for (let repeat = 0; repeat < 5; repeat++) {
    await run(fractions);
    assert.deepEqual(bytesOf(gradient.read()), bytesOf(first));
  }
  await program.dispose();
});

for (const opset of [13, 17, 20]) {
  test(`standard operators of opset ${opset} compute the same`, async () => {
    const square: Signature = {
      inputs: {
        x: { shape: ['n', 4, 4], dtype: 'float32' },
        y: { shape: ['n', 4, 4], dtype: 'float32' },
        scale: { shape: [4], dtype: 'float32' },
      },
    };
    const flags = [false, true].flatMap((a) => [false, true].map((b) => [a, b] as const));
    const compute: TensorFunction = ({ x, y, scale }) => ({
      ...Object.fromEntries(flags.map(([a, b]) => [`product ${a} ${b}`, scaledMatMul(x, y, 0.3, a, b)])),
      gelu: gelu(x),
      quickGelu: quickGelu(x),
      normal: layerNorm(x, scale as Tensor1D, scale as Tensor1D, 1e-5),
      rows: tf.reshape(x, [-1, 2]),
      repeated: tf.add(tf.fill([x.shape[0], 1, 1], 0.5), y),
    });
    const graph = record(compute, square, { opset, microsoft: false });
    assert.ok(graph.nodes.every(({ domain }) => domain === ''));
    const session = await ort.InferenceSession.create(encodeModel(graph), { logSeverityLevel: 3 });
    const expected = await tfjs.compile(compute, square);
    for (const n of [1, 3]) {
      const feeds = {
        x: { shape: [n, 4, 4], data: randomFloats(n * 16, 'x', n) },
        y: { shape: [n, 4, 4], data: randomFloats(n * 16, 'y', n) },
        scale: { shape: [4], data: randomFloats(4, 'scale') },
      };
      const tensors = Object.entries(feeds).map(([name, { shape, data }]) => [
        name,
        new ort.Tensor('float32', data, shape),
      ]);
      const found = await session.run(Object.fromEntries(tensors) as Record<string, ort.Tensor>);
      for (const [name, { shape, data }] of Object.entries(await expected.run(feeds))) {
        assert.deepEqual(found[name].dims, shape, name);
        assert.ok(maxDifference(found[name].data as Float32Array, data) < 1e-5, name);
      }
    }
    await session.release();
    await expected.dispose();
  });
}
