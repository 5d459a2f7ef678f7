import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as web from 'onnxruntime-web';
import { exportOnnx, loadModel } from '../src/index.js';
import { readSafetensors } from '../src/io/safetensors.js';
import { fixture, relativeL2, temporaryDirectory } from './support.js';

web.env.wasm.numThreads = 1;
web.env.logLevel = 'error';

const folder = temporaryDirectory();
const limits = { fp32: 1e-6, fp16: 2e-3, int8: 2e-2 };

for (const name of ['vit', 'rn']) {
  test(`${name}: ONNX Runtime Web computes the features of the Python reference from the exported files`, async () => {
    const golden = fixture('golden', name);
    const model = await loadModel(join(golden, 'init.safetensors'), { config: join(golden, 'config.json') });
    const out = join(folder, name);
    await exportOnnx(model, { out, precisions: ['fp32', 'fp16', 'int8'], overwrite: true });
    await model.dispose();

    const io = readSafetensors(join(golden, 'io.safetensors'));
    const run = async (file: string, input: string, type: 'float32' | 'int64', from: string) => {
      const session = await web.InferenceSession.create(readFileSync(file), { executionProviders: ['wasm'] });
      const { data, shape } = io.get(from)!;
      const results = await session.run({ [input]: new web.Tensor(type, data as Float32Array, shape) });
      await session.release();
      return results;
    };
    for (const [precision, limit] of Object.entries(limits)) {
      const { unnorm_image_features: image } = await run(
        `${out}.img.${precision}.onnx`,
        'image',
        'float32',
        'image',
      );
      const { unnorm_text_features: text } = await run(
        `${out}.txt.${precision}.onnx`,
        'text',
        'int64',
        'text',
      );
      for (const [features, key] of [
        [image, 'unnorm_image_features'],
        [text, 'unnorm_text_features'],
      ] as const) {
        const expected = io.get(key)!.data as Float32Array;
        assert.ok(relativeL2(features.data as Float32Array, expected) < limit, `${key} in ${precision}`);
      }
    }
  });
}
