import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../src/checkpoint/convert.js';
import { toHuggingFace } from '../src/checkpoint/huggingface.js';
import { fromHuggingFaceConfig } from '../src/checkpoint/huggingfaceConfig.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { UserError } from '../src/errors.js';
import {
  openSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  writeSafetensors,
} from '../src/io/safetensors.js';
import { parseModelConfig } from '../src/model/config.js';
import { loadModel } from '../src/model/load.js';
import { runCli } from './runCli.js';
import { assertSameTensors, maxDifference, readJson, temporaryDirectory } from './support.js';
import { torchFixture } from './torchFixtures.js';

type Json = Record<string, unknown>;

const folder = temporaryDirectory();
const modelConfig = torchFixture('config-vit.json');
const keep = { dtype: 'keep', modelConfig } as const;

/** As many word pieces as the model embeds, those of BERT among them. */
const pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...'一丁七万丈三上下不与丑专且世丘丙业丛东丝'];
const vocabularyFile = join(folder, 'pieces.txt');
writeFileSync(vocabularyFile, `${pieces.join('\n')}\n`);

const refusal = (message: RegExp) => (error: unknown) =>
  error instanceof UserError && message.test(error.message);

for (const [form, name] of [
  ['transformers 4.41, model.safetensors', 't441'],
  ['transformers 4.25, pytorch_model.bin', 't425bin'],
  ['shards of a pytorch_model.bin', 'sharded'],
]) {
  test(`a folder of ${form}: tensors and features of the reference’s checkpoint`, async () => {
    const location = torchFixture(`huggingface/${name}`);
    const model = await loadModel(location);
    assert.deepEqual(model.config, parseModelConfig(readJson(modelConfig), modelConfig));
    assertSameTensors(model.tensors, openCheckpoint(torchFixture('vit-train.pt')).tensors);
    const io = readSafetensors(torchFixture('io-vit.safetensors'));
    const values = (key: string) => io.get(key)!.data as Float32Array;
    const [n, length] = io.get('text')!.shape;
    const image = await model.encodeImages(values('image'), n);
    assert.ok(maxDifference(image, values('unnorm_image_features')) < 1e-5);
    const ids = Int32Array.from(io.get('text')!.data as BigInt64Array, Number);
    const text = await model.encodeTexts(ids, n, length);
    assert.ok(maxDifference(text, values('unnorm_text_features')) < 1e-5);
    await model.dispose();
  });
}

for (const name of ['vit-train', 'vit-half']) {
  test(`${name}.pt → Hugging Face → .pt keeps every tensor’s bits`, () => {
    const pt = torchFixture(`${name}.pt`);
    const between = join(folder, name);
    const back = join(folder, `${name}.pt`);
    convertCheckpoint(pt, between, { to: 'huggingface', ...keep });
    // The folder says its config itself.
    convertCheckpoint(between, back, { to: 'pt', dtype: 'keep' });
    assertSameTensors(openCheckpoint(back).tensors, openCheckpoint(pt).tensors);
  });
}

test('the tensors of a written folder are those that transformers writes', () => {
  const out = join(folder, 'written');
  convertCheckpoint(torchFixture('vit-train.pt'), out, { to: 'huggingface', ...keep });
  const path = join(out, 'model.safetensors');
  const theirs = join(torchFixture('huggingface/t441'), 'model.safetensors');
  assertSameTensors(openSafetensors(path), openSafetensors(theirs));
  assert.deepEqual(readSafetensorsHeader(path).metadata, { format: 'pt' });
});

test('config, preprocessing and tokenizer files say what transformers writes and needs', () => {
  const out = join(folder, 'files');
  const said = convertCheckpoint(torchFixture('vit-train.pt'), out, {
    to: 'huggingface',
    ...keep,
    vocabulary: vocabularyFile,
  });
  assert.deepEqual(said, [
    `${out}: without the optimizer: the form has no place for it`,
    `${out}: 59 tensors`,
  ]);
  assert.deepEqual(readdirSync(out).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'tokenizer_config.json',
    'vocab.txt',
  ]);
  const read = (name: string) => readJson<Json>(join(out, name));
  const theirs = (name: string) => readJson<Json>(join(torchFixture('huggingface/t441'), name));

  // Theirs leaves out what is the default.
  const { transformers_version: _, text_config, vision_config, ...top } = theirs('config.json');
  const { text_config: text, vision_config: vision, ...ourTop } = read('config.json');
  assert.deepEqual(ourTop, top);
  const picked = (from: unknown, like: unknown) =>
    Object.fromEntries(Object.keys(like as Json).map((key) => [key, (from as Json)[key]]));
  assert.deepEqual(picked(text, text_config), text_config);
  assert.deepEqual(picked(vision, vision_config), vision_config);
  const full = { hidden_act: 'gelu', layer_norm_eps: 1e-12, type_vocab_size: 2, pad_token_id: 0 };
  assert.deepEqual(picked(text, full), full);
  const fullVision = { hidden_act: 'quick_gelu', layer_norm_eps: 1e-5, num_channels: 3 };
  assert.deepEqual(picked(vision, fullVision), fullVision);

  const preprocessing = {
    ...theirs('preprocessor_config.json'),
    image_processor_type: 'ChineseCLIPImageProcessor',
  };
  assert.deepEqual(read('preprocessor_config.json'), preprocessing);
  assert.equal(readFileSync(join(out, 'vocab.txt'), 'utf8'), readFileSync(vocabularyFile, 'utf8'));
  const { tokenizer_class, do_lower_case, tokenize_chinese_chars, strip_accents } =
    read('tokenizer_config.json');
  assert.deepEqual(
    [tokenizer_class, do_lower_case, tokenize_chinese_chars, strip_accents],
    ['BertTokenizer', true, true, null],
  );
});

test('the config names the precision: half where no tensor is single', () => {
  const out = join(folder, 'float16');
  convertCheckpoint(torchFixture('vit-train.pt'), out, { to: 'huggingface', dtype: 'float16', modelConfig });
  assert.equal(readJson<Json>(join(out, 'config.json')).torch_dtype, 'float16');
});

test('convert with a vocabulary puts it into the folder; without one it says what is missing', async () => {
  const convert = async (to: string, name: string, ...flags: string[]) => {
    const out = join(folder, `cli-${to}-${name}`);
    const given = ['convert', torchFixture('vit-train.pt'), out, '--to', to, '--model-config', modelConfig];
    return { out, ...(await runCli([...given, ...flags])) };
  };
  for (const to of ['huggingface', 'safetensors']) {
    const without = await convert(to, 'without');
    assert.equal(without.code, 0, without.stderr);
    assert.match(
      without.stdout,
      /no vocab\.txt came with the weights: copy one into it, or give --vocabulary/,
    );
    assert.ok(!existsSync(join(without.out, 'vocab.txt')));
    assert.ok(!existsSync(join(without.out, 'tokenizer_config.json')));

    const given = await convert(to, 'given', '--vocabulary', vocabularyFile);
    assert.equal(given.code, 0, given.stderr);
    assert.doesNotMatch(given.stdout, /vocab\.txt/);
    assert.equal(readFileSync(join(given.out, 'vocab.txt'), 'utf8'), readFileSync(vocabularyFile, 'utf8'));
    // A folder that has one hands it on.
    const on = join(folder, `cli-${to}-on`);
    convertCheckpoint(given.out, on, { to: 'huggingface', dtype: 'keep' });
    assert.deepEqual(readFileSync(join(on, 'vocab.txt')), readFileSync(vocabularyFile));
  }
  const large = join(folder, 'large.txt');
  const more = Array.from({ length: 120 }, (_, i) => String.fromCodePoint(0x5000 + i));
  writeFileSync(large, `${[...pieces, ...more].join('\n')}\n`);
  const refused = await convert('huggingface', 'large', '--vocabulary', large);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /large\.txt has 145 word pieces, but the model embeds 120/);
  assert.ok(!existsSync(refused.out));
});

/** A folder with the model of t441 in two files, and an index that `change` may alter. */
function sharded(name: string, change: (weightMap: Record<string, string>) => void = () => {}): string {
  const directory = join(folder, name);
  mkdirSync(directory);
  const theirs = torchFixture('huggingface/t441');
  cpSync(join(theirs, 'config.json'), join(directory, 'config.json'));
  const tensors = [...openSafetensors(join(theirs, 'model.safetensors'))];
  const weightMap: Record<string, string> = {};
  for (const [i, part] of [tensors.slice(0, 20), tensors.slice(20)].entries()) {
    const shard = `model-0000${i + 1}-of-00002.safetensors`;
    writeSafetensors(join(directory, shard), new Map(part), { format: 'pt' });
    for (const [tensor] of part) weightMap[tensor] = shard;
  }
  change(weightMap);
  const index = { metadata: { total_size: 1 }, weight_map: weightMap };
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify(index));
  return directory;
}

test('shards of safetensors with an index load as one file does', () => {
  const { tensors } = openCheckpoint(sharded('shards'));
  assertSameTensors(tensors, openCheckpoint(torchFixture('vit-train.pt')).tensors);
});

test('an index may name only files of weights beside it, and tensors that they hold', () => {
  const outside = join(folder, 'outside.safetensors');
  writeSafetensors(outside, new Map([['logit_scale', { shape: [], data: new Float32Array(1) }]]));
  const shown = /is no file of weights beside it/;
  const names: [string, RegExp][] = [
    ['../outside.safetensors', shown],
    [outside, shown],
    ['./model-00001-of-00002.safetensors', shown],
    ['..\\outside.safetensors', shown],
    ['model.safetensors.index.json', shown],
    ['config.json', shown],
    ['', shown],
    ['model-00002-of-00002.safetensors', /tensor "logit_scale" is not in model-00002-of-00002\.safetensors/],
    ['model-00003-of-00002.safetensors', /model-00003-of-00002\.safetensors/],
  ];
  for (const [i, [name, message]] of names.entries()) {
    const directory = sharded(`traversal-${i}`, (weightMap) => {
      assert.ok(Object.hasOwn(weightMap, 'logit_scale'));
      weightMap.logit_scale = name;
    });
    assert.throws(() => openCheckpoint(directory), refusal(message), name);
  }
});

test('a ResNet is refused, since transformers has none, and nothing is left', () => {
  const place = join(folder, 'resnet');
  mkdirSync(place);
  const convert = () =>
    convertCheckpoint(torchFixture('rn-train.pt'), join(place, 'out'), {
      to: 'huggingface',
      dtype: 'keep',
      modelConfig: torchFixture('config-rn.json'),
    });
  assert.throws(convert, refusal(/ChineseCLIPModel has no ResNet image tower, only pt and safetensors do/));
  assert.deepEqual(readdirSync(place), []);
});

const theirConfig = () => readJson<Json>(join(torchFixture('huggingface/t441'), 'config.json'));

test('a config of another model, activation or epsilon is refused by field', () => {
  const changes: [path: string, value: unknown][] = [
    ['model_type', 'clip'],
    ['text_config.hidden_act', 'gelu_new'],
    ['text_config.layer_norm_eps', 1e-5],
    ['text_config.position_embedding_type', 'relative_key'],
    ['text_config.pad_token_id', 1],
    ['vision_config.hidden_act', 'gelu'],
    ['vision_config.layer_norm_eps', 1e-6],
    ['vision_config.num_channels', 4],
    ['vision_config.intermediate_size', 191],
    ['vision_config', undefined],
  ];
  for (const [path, value] of changes) {
    const config = theirConfig();
    const [top, field] = path.split('.');
    config[top] = field === undefined ? value : { ...(config[top] as Json), [field]: value };
    assert.throws(
      () => fromHuggingFaceConfig(config, 'some/config.json'),
      refusal(new RegExp(`^some/config\\.json.*${path.replace('.', '\\.')}`)),
      path,
    );
  }
});

test('text_config_dict and vision_config_dict of older files override the newer fields whole', () => {
  const plain = fromHuggingFaceConfig(theirConfig(), 'config.json');
  const {
    text_config: text,
    vision_config: vision,
    ...rest
  } = theirConfig() as { text_config: Json; vision_config: Json };
  const wrong = {
    text_config: { ...text, vocab_size: 7, hidden_act: 'relu' },
    vision_config: { num_channels: 5 },
  };
  const both = { ...rest, ...wrong, text_config_dict: text, vision_config_dict: vision };
  assert.deepEqual(fromHuggingFaceConfig(both, 'config.json'), plain);
  const old = { ...rest, text_config_dict: text, vision_config_dict: vision };
  assert.deepEqual(fromHuggingFaceConfig(old, 'config.json'), plain);
  // What the older field leaves out is the default, not what the newer says.
  const { num_hidden_layers: _, ...shorter } = text;
  const defaulted = fromHuggingFaceConfig({ ...both, text_config_dict: shorter }, 'config.json');
  assert.equal(defaulted.text_num_hidden_layers, 12);
  // Newer files may name the older fields with nothing in them.
  const empty = { ...theirConfig(), text_config_dict: null, vision_config_dict: null };
  assert.deepEqual(fromHuggingFaceConfig(empty, 'config.json'), plain);
});

test('query, key and value that do not fit together are refused', () => {
  const tensors = toHuggingFace(openCheckpoint(torchFixture('vit-train.pt')).tensors);
  const key = 'vision_model.encoder.layers.0.self_attn.k_proj.bias';
  const directory = join(folder, 'odd');
  mkdirSync(directory);
  const path = join(directory, 'model.safetensors');
  tensors.set(key, { shape: [47], dtype: 'F32', read: () => new Uint8Array(188) });
  writeSafetensors(path, tensors);
  assert.throws(() => openCheckpoint(directory), refusal(/k_proj\.bias' is F32 \[47\].*must be alike/));
  tensors.delete(key);
  writeSafetensors(path, tensors);
  assert.throws(() => openCheckpoint(directory), refusal(/k_proj\.bias' is missing/));
});
