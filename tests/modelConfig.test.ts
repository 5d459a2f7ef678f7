import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../src/io/packageRoot.js';
import { readSafetensors } from '../src/io/safetensors.js';
import { loadModelConfig, type ModelConfig, parseModelConfig } from '../src/model/config.js';
import {
  initializeParameter,
  isBuffer,
  isCounter,
  isVisionParameter,
  parameterSpecs,
} from '../src/model/parameters.js';
import { sizeOf } from '../src/shape.js';
import { bytesOf, fixture, readJson, temporaryDirectory, tinyResNetTower } from './support.js';

const folder = temporaryDirectory();
const configs = join(packageRoot, 'configs', 'models');
const namesIn = (...parts: string[]) =>
  readdirSync(join(configs, ...parts))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length));

const parameterCount = (config: ModelConfig) =>
  parameterSpecs(config).reduce((count, { name, shape }) => count + (isBuffer(name) ? 0 : sizeOf(shape)), 0);

test('the official sizes have the parameter counts of the reference', () => {
  const millions = {
    'ViT-B-16': 188,
    'ViT-L-14': 406,
    'ViT-L-14-336': 407,
    'ViT-H-14': 958,
    RN50: 77,
  };
  for (const [name, expected] of Object.entries(millions)) {
    assert.equal(Math.round(parameterCount(loadModelConfig(name)) / 1e6), expected, name);
  }
});

test('every named config and every pair of towers loads', () => {
  const names = namesIn();
  assert.ok(names.includes('tiny') && names.includes('ViT-B-32'));
  // A config without a vocabulary takes the size of the one it is trained with.
  for (const name of names) assert.ok(parameterCount(loadModelConfig(name, { vocabSize: 1234 })) > 0, name);
  for (const vision of namesIn('vision')) {
    for (const text of namesIn('text')) {
      const config = loadModelConfig(`${vision}+${text}`, { vocabSize: 1234 });
      assert.equal(config.vocab_size, 21128, 'a released tower keeps its vocabulary');
    }
  }
});

test("names and shapes of parameters are those of the reference's checkpoints", () => {
  const config = loadModelConfig(fixture('golden', 'vit', 'config.json'));
  assert.deepEqual(config, readJson(fixture('golden', 'vit', 'config.json')));
  const specs = new Map(parameterSpecs(config).map(({ name, shape }) => [name, shape]));
  const { decay, no_decay: kept } = readJson<{ decay: string[]; no_decay: string[] }>(
    fixture('golden', 'vit', 'adamw.json'),
  );
  assert.deepEqual([...specs.keys()].sort(), [...decay, ...kept].sort());
  assert.deepEqual(specs.get('visual.transformer.resblocks.1.attn.in_proj_weight'), [192, 64]);
  assert.deepEqual(specs.get('bert.encoder.layer.0.output.dense.weight'), [32, 64]);
});

test("a ResNet's parameters and buffers are those of the reference's checkpoints", () => {
  const config = loadModelConfig(fixture('golden', 'rn', 'config.json'));
  assert.deepEqual(config, {
    ...readJson<object>(fixture('golden', 'rn', 'config.json')),
    vision_head_width: 64,
  });
  const stored = readSafetensors(fixture('golden', 'rn', 'init.safetensors'));
  const specs = parameterSpecs(config);
  assert.deepEqual(specs.map(({ name }) => name).sort(), [...stored.keys()].sort());
  for (const { name, shape } of specs) {
    assert.deepEqual(shape, stored.get(name)!.shape, name);
    assert.equal(isCounter(name), stored.get(name)!.dtype === 'I64', name);
  }
  // The reference rounds half of an odd width down.
  const odd = parameterSpecs({ ...config, vision_width: 9 }).find(
    ({ name }) => name === 'visual.conv3.weight',
  );
  assert.deepEqual(odd!.shape, [9, 4, 3, 3]);
  const initial = (name: string) => specs.find((spec) => spec.name === `visual.${name}`)!.initial;
  assert.deepEqual(initial('bn3.weight'), { kind: 'constant', value: 1 });
  assert.deepEqual(initial('layer3.0.bn3.weight'), { kind: 'constant', value: 0 });
  assert.deepEqual(initial('layer3.0.bn3.running_var'), { kind: 'constant', value: 1 });
  assert.deepEqual(initial('layer2.1.conv2.weight'), { kind: 'uniform', bound: (16 * 9) ** -0.5 });
  assert.deepEqual(initial('attnpool.q_proj.weight'), { kind: 'normal', deviation: 256 ** -0.5 });
  assert.deepEqual(initial('attnpool.c_proj.bias'), { kind: 'uniform', bound: 256 ** -0.5 });
});

test('initial weights are a function of the seed, with the deviations that their specification names', () => {
  const config = { ...loadModelConfig('tiny'), vocab_size: 1000 };
  for (const spec of parameterSpecs(config)) {
    const values = initializeParameter(spec, 3);
    assert.equal(values.length, sizeOf(spec.shape));
    assert.deepEqual(bytesOf(initializeParameter(spec, 3)), bytesOf(values));
    if (spec.initial.kind === 'constant') continue;
    assert.notDeepEqual(bytesOf(initializeParameter(spec, 4)), bytesOf(values), spec.name);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
    const expected =
      spec.initial.kind === 'normal' ? spec.initial.deviation : spec.initial.bound / Math.sqrt(3);
    const margin = 5 / Math.sqrt(values.length);
    assert.ok(Math.abs(mean) < margin * expected, `mean of ${spec.name}`);
    assert.ok(Math.abs(deviation / expected - 1) < margin, `deviation of ${spec.name}`);
  }
  const initial = (name: string) =>
    initializeParameter(parameterSpecs(config).find((spec) => spec.name === name)!, 3);
  assert.ok(Math.abs(initial('logit_scale')[0] - Math.log(1 / 0.07)) < 1e-6);
  assert.ok(initial('bert.embeddings.LayerNorm.weight').every((value) => value === 1));
  assert.ok(initial('visual.transformer.resblocks.0.attn.in_proj_bias').every((value) => value === 0));
  assert.ok(isVisionParameter('visual.proj') && !isVisionParameter('logit_scale'));
});

test('a config that is wrong is refused with its file and field', () => {
  const tiny = loadModelConfig('tiny');
  const refuses = (changes: object, message: RegExp) => {
    const path = join(folder, 'model.json');
    writeFileSync(path, JSON.stringify({ ...tiny, ...changes }));
    assert.throws(() => loadModelConfig(path), { name: 'UserError', message });
  };
  refuses({ embed_dim: undefined }, /model config .*model\.json: embed_dim: is missing, expected number/);
  refuses({ vision_width: '64' }, /vision_width: expected number, received string/);
  refuses({ text_num_hidden_layers: 0 }, /text_num_hidden_layers: .*>0/);
  refuses({ visual_width: 64 }, /visual_width: there is no such setting/);
  refuses({ vision_patch_size: 7 }, /vision_patch_size: 7 does not divide image_resolution 32/);
  refuses({ vision_head_width: 48 }, /vision_head_width: 48 does not divide vision_width 64/);
  refuses({ text_num_attention_heads: 3 }, /text_num_attention_heads: 3 does not divide text_hidden_size 32/);
  refuses({ text_hidden_act: 'relu' }, /text_hidden_act/);
  refuses({ text_hidden_dropout_prob: 1 }, /text_hidden_dropout_prob: .*<1/);
  refuses({ vision_patch_size: undefined }, /vision_patch_size: is missing, expected number/);
  refuses({ vision_layers: [1, 2, 3] }, /vision_layers: expected a whole number .* or four .* of a ResNet/);
  const resnet = { ...tinyResNetTower, image_resolution: 64 };
  refuses({ ...resnet, image_resolution: 80 }, /image_resolution: 80 is not a multiple of 32, as a ResNet/);
  refuses({ ...resnet, vision_patch_size: 8 }, /vision_patch_size: a ResNet has no patches/);
  refuses(
    { ...resnet, vision_head_width: 48 },
    /vision_head_width: 48 does not divide 32 times vision_width 8/,
  );
  refuses({ embed_dim: 0, vision_layers: -1 }, /embed_dim: .*; vision_layers/);
});

test('a config that is not there is refused with the names there are', () => {
  const refuses = (name: string, message: RegExp) =>
    assert.throws(() => loadModelConfig(name), { name: 'UserError', message });
  refuses('ViT-B-8', /unknown model 'ViT-B-8': .*ViT-B-16.*tiny.*VISION\+TEXT.*RBT3-chinese/);
  refuses('ViT-B-16+BERT', /unknown text tower 'BERT', expected one of .*RBT3-chinese/);
  refuses('ViT-B-8+RBT3-chinese', /unknown vision tower 'ViT-B-8', expected one of .*ViT-B-16/);
  refuses(join(folder, 'none.yaml'), /none\.yaml does not exist/);
  refuses('../../package', /unknown model/);
  writeFileSync(join(folder, 'broken.yaml'), 'embed_dim: [');
  refuses(join(folder, 'broken.yaml'), /broken\.yaml is neither JSON nor YAML/);
  writeFileSync(join(folder, 'text.yaml'), 'a sentence');
  refuses(join(folder, 'text.yaml'), /text\.yaml: expected object/);
});

test('the list of layers of a ResNet may be text, as in the reference’s RN50.json', () => {
  const config = loadModelConfig('RN50');
  assert.deepEqual(parseModelConfig({ ...config, vision_layers: '[3,4,6,3]' }, 'RN50.json'), config);
});
