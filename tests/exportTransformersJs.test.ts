import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { AutoModel, AutoProcessor, AutoTokenizer, env, RawImage, Tensor } from '@huggingface/transformers';
import sharp from 'sharp';
import { normalize } from '../src/eval/ranking.js';
import { exportOnnx, type Model, preprocessImage, Tokenizer } from '../src/index.js';
import { packageRoot } from '../src/io/packageRoot.js';
import {
  maxDifference,
  onnx,
  randomBatch,
  readJson,
  relativeL2,
  temporaryDirectory,
  tinyModel,
  tinyResNet,
} from './support.js';

env.allowRemoteModels = false;
env.localModelPath = temporaryDirectory();

interface Outputs {
  logits_per_image: Tensor;
  logits_per_text: Tensor;
  text_embeds: Tensor;
  image_embeds: Tensor;
}

const name = 'tiny.transformersjs';
const characters = '一只橘猫在窗台上晒太阳海边的日落狗，。';
const pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...characters, 'a', 'cat', 'sun', '##set', '2'];
const texts = ['一只橘猫', 'A sunset，海边的日落 2', '狗'];
let model: Model;
let files: string[];

before(async () => {
  model = tinyModel(onnx);
  ({ files } = await exportOnnx(model, {
    out: join(env.localModelPath, 'tiny'),
    precisions: ['fp32', 'fp16', 'int8'],
    layout: 'transformersjs',
    vocabulary: pieces,
    externalData: true,
  }));
});

const data = ({ data }: Tensor) => data as Float32Array;

for (const [dtype, limit] of [
  ['fp32', 1e-5],
  ['fp16', 2e-3],
  ['q8', 2e-2],
] as const) {
  test(`AutoModel loads the folder in ${dtype} and computes the model's similarities`, async () => {
    const { pixels, ids, length } = randomBatch(model.config, 5, 7, 'joint');
    const [images, side] = [5, model.config.image_resolution];
    const loaded = await AutoModel.from_pretrained(name, { dtype });
    assert.equal(loaded.constructor.name, 'ChineseCLIPModel');
    // Three texts and five images.
    const integers = BigInt64Array.from(ids.subarray(0, 3 * length), BigInt);
    const outputs: Outputs = await loaded({
      input_ids: new Tensor('int64', integers, [3, length]),
      attention_mask: new Tensor(
        'int64',
        integers.map((id) => (id === 0n ? 0n : 1n)),
        [3, length],
      ),
      pixel_values: new Tensor('float32', pixels, [images, 3, side, side]),
    });
    await loaded.dispose();

    const { embed_dim: width } = model.config;
    const image = normalize(await model.encodeImages(pixels, images), width);
    const text = normalize(await model.encodeTexts(ids.subarray(0, 3 * length), 3, length), width);
    const scale = Math.exp(model.weights.get('logit_scale')!.read()[0]);
    const logits = Float32Array.from({ length: 3 * images }, (_, at) => {
      const [t, i] = [Math.floor(at / images), at % images];
      let sum = 0;
      for (let j = 0; j < width; j++) sum += text[t * width + j] * image[i * width + j];
      return scale * sum;
    });
    assert.ok(relativeL2(data(outputs.image_embeds), image) < limit);
    assert.ok(relativeL2(data(outputs.text_embeds), text) < limit);
    assert.deepEqual(outputs.logits_per_text.dims, [3, images]);
    assert.deepEqual(outputs.logits_per_image.dims, [images, 3]);
    assert.ok(maxDifference(data(outputs.logits_per_text), logits) < scale * limit);
    const transposed = data(outputs.logits_per_text).map(
      (_, at) => data(outputs.logits_per_text)[(at % 3) * images + Math.floor(at / 3)],
    );
    assert.ok(maxDifference(data(outputs.logits_per_image), transposed) < 1e-5);
  });
}

test('what the attention mask leaves out does not count', async () => {
  const { pixels, ids, length } = randomBatch(model.config, 1, 7, 'mask');
  const side = model.config.image_resolution;
  const loaded = await AutoModel.from_pretrained(name, { dtype: 'fp32' });
  const embed = async (tokens: Int32Array, attended: number): Promise<Float32Array> => {
    const mask = BigInt64Array.from(tokens, (_, i) => (i < attended ? 1n : 0n));
    const outputs: Outputs = await loaded({
      input_ids: new Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]),
      attention_mask: new Tensor('int64', mask, [1, tokens.length]),
      pixel_values: new Tensor('float32', pixels, [1, 3, side, side]),
    });
    return data(outputs.text_embeds);
  };
  const short = await embed(ids.subarray(0, 4), 4);
  assert.ok(maxDifference(await embed(ids, 4), short) < 1e-6);
  assert.ok(maxDifference(await embed(ids, length), short) > 1e-4);
  await loaded.dispose();
});

test('AutoTokenizer gives the ids of our tokenizer', async () => {
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const expected = new Tokenizer(pieces).encodeBatch(texts, 52);
  const { input_ids: ids, attention_mask: mask } = tokenizer(texts, { padding: true });
  assert.deepEqual((ids as Tensor).dims, [3, expected.length]);
  assert.deepEqual(Array.from(ids.data as BigInt64Array, Number), [...expected.ids]);
  assert.deepEqual(
    Array.from(mask.data as BigInt64Array, Number),
    [...expected.ids].map((id) => (id === 0 ? 0 : 1)),
  );
});

test('AutoProcessor normalises pictures as we do, and resizes them to the square', async () => {
  const processor = await AutoProcessor.from_pretrained(name);
  const side = model.config.image_resolution;
  const process = async (width: number, height: number) => {
    const picture = sharp(join(packageRoot, 'tests', 'fixtures', 'images', 'rocket.jpg'));
    const { data } = await picture
      .resize(width, height, { fit: 'fill' })
      .raw()
      .toBuffer({ resolveWithObject: true });
    const png = await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    const ours = await preprocessImage(png, side);
    const { pixel_values: theirs } = await processor(
      new RawImage(new Uint8ClampedArray(data), width, height, 3),
    );
    assert.deepEqual((theirs as Tensor).dims, [1, 3, side, side]);
    return { ours, theirs: theirs.data as Float32Array };
  };
  const same = await process(side, side);
  assert.ok(maxDifference(same.theirs, same.ours) < 1e-5);
  // Its resize is another program's: near, not equal.
  const resized = await process(3 * side, 2 * side);
  assert.ok(relativeL2(resized.theirs, resized.ours) < 0.2);
});

test('the folder has what the package looks for, and a ResNet or a model without vocabulary is refused', async () => {
  assert.ok(files.includes(join(env.localModelPath, name, 'onnx', 'model_quantized.onnx_data')));
  assert.ok(existsSync(join(env.localModelPath, name, 'tokenizer_config.json')));
  assert.equal(
    readJson<{ model_type: string }>(join(env.localModelPath, name, 'config.json')).model_type,
    'chinese_clip',
  );
  const out = join(env.localModelPath, 'other');
  const options = { out, layout: 'transformersjs' } as const;
  await assert.rejects(exportOnnx(tinyResNet(onnx), { ...options, vocabulary: pieces }), /ResNet/);
  await assert.rejects(exportOnnx(model, options), /needs a vocabulary/);
});
