import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { buildEmojiClasses } from '../src/data/emojiClasses.js';
import { UserError } from '../src/errors.js';
import { benchmarks, elevaterNames, evalConfigs } from '../src/eval/classification/benchmarks.js';
import { openElevaterDataset, openOwnPictures } from '../src/eval/classification/dataset.js';
import { encodePictures } from '../src/eval/classification/imageFeatures.js';
import { fillPrompts, loadPrompts } from '../src/eval/classification/prompts.js';
import { publishedResult, recognizeModel } from '../src/eval/classification/published.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { readSafetensors } from '../src/io/safetensors.js';
import type { Reporter } from '../src/io/terminal.js';
import { loadModelConfig } from '../src/model/config.js';
import { createModel } from '../src/model/load.js';
import { runCli } from './runCli.js';
import { fixture, maxDifference, onnx, readJson, temporaryDirectory } from './support.js';

// What the reference's zeroshot_evaluation.py gives for the model of golden/vit and these pictures.
const golden = readJson<{
  vocabulary: string;
  templates: string[];
  layout: Record<string, string[]>;
  labels: string[];
  index: number[];
  top1: number;
  probabilities: number[][];
}>(fixture('zeroshot.json'));

const folder = temporaryDirectory();
const data = join(folder, 'data');
const toy = join(data, 'toy');
const vocabulary = join(folder, 'vocab.txt');
const templates = join(folder, 'templates.json');

function write(path: string, content: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

for (const [name, files] of Object.entries(golden.layout)) {
  mkdirSync(join(toy, 'test', name), { recursive: true });
  for (const file of files) copyFileSync(fixture('images', file), join(toy, 'test', name, file));
}
write(join(toy, 'label_cn.txt'), `${golden.labels.join('\r\n')}\r\n`);
write(join(toy, 'index.json'), JSON.stringify(golden.index));
write(join(toy, 'test', '0', 'notes.txt'), 'no picture');
// Data are often links, which torchvision follows.
renameSync(join(toy, 'test', '1'), join(folder, 'elsewhere'));
symlinkSync(join(folder, 'elsewhere'), join(toy, 'test', '1'));
const pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...golden.vocabulary];
const unused = Array.from({ length: 300 - pieces.length }, (_, i) => `[unused${i}]`);
write(vocabulary, [...pieces, ...unused].join('\n'));
write(templates, JSON.stringify(golden.templates));

function refuses(open: () => unknown, message: RegExp): void {
  assert.throws(open, (error) => error instanceof UserError && message.test(error.message));
}

/** A copy of the toy dataset, to be spoilt, without links: cpSync of Node.js 22 copies those inside as they are. */
function copyOfToy(name: string): string {
  copyFollowing(toy, join(data, name));
  return join(data, name);
}

function copyFollowing(from: string, to: string): void {
  if (statSync(from).isDirectory()) {
    for (const name of readdirSync(from)) copyFollowing(join(from, name), join(to, name));
  } else {
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(from, to);
  }
}

const weights = fixture('golden', 'vit', 'init.safetensors');
const model = [
  '--model',
  weights,
  '--config',
  fixture('golden', 'vit', 'config.json'),
  '--vocab',
  vocabulary,
];

function evaluate(out: string, ...more: string[]) {
  return runCli(['eval-elevater', '--data', data, ...model, '--templates', templates, '--out', out, ...more]);
}

test("probabilities, predictions and score are the reference's; an evaluated dataset isn't evaluated again", async () => {
  const out = join(folder, 'toy-out');
  const { code, stderr, stdout } = await evaluate(out, '--datasets', 'toy', '--batch-size', '3');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /toy +accuracy +18\.18/);
  const file = readJson<Record<string, unknown>>(join(out, 'toy.json'));
  assert.deepEqual(Object.keys(file), [
    ...['model_name', 'dataset_name', 'num_trainable_params', 'num_params', 'num_visual_params'],
    ...['num_backbone_params', 'n_shot', 'rnd_seeds', 'predictions'],
  ]);
  assert.equal(file.dataset_name, 'toy');
  const [rows] = file.predictions as number[][][];
  assert.equal(rows.length, golden.index.length);
  rows.forEach((row, i) => {
    const expected = golden.probabilities[i];
    row.forEach((value, c) => {
      assert.ok(
        Math.abs(value - expected[c]) < 1e-5,
        `row ${i}, class ${c}: ${value}, expected ${expected[c]}`,
      );
    });
    assert.equal(row.indexOf(Math.max(...row)), expected.indexOf(Math.max(...expected)));
  });
  const scores = readJson<Record<string, { metric: string; value: number; top1: number }>>(
    join(out, 'scores.json'),
  );
  assert.deepEqual(
    [scores.toy.metric, scores.toy.value, scores.toy.top1],
    ['accuracy', golden.top1, golden.top1],
  );
  assert.deepEqual(
    readdirSync(join(out, 'cache')).filter((name) => name.endsWith('.partial')),
    [],
  );
  const report = readFileSync(join(out, 'report.html'), 'utf8');
  assert.match(report, /data:image\/jpeg;base64/);
  assert.doesNotMatch(report, /(src|href)="(?!data:|#)/);
  assert.match(report, /火箭/);

  const before = readFileSync(join(out, 'toy.json'));
  const again = await evaluate(out, '--datasets', 'toy', '--compare', out);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /toy: evaluated before/);
  assert.match(again.stdout, /0\.00 +0\.0 … 0\.0 +1\.0000/);
  assert.deepEqual(readFileSync(join(out, 'toy.json')), before);

  // Other prompts: the pictures' scores change, so the dataset is evaluated again.
  const other = write(join(folder, 'other.yaml'), "default: ['{}']\n");
  const changed = await evaluate(out, '--datasets', 'toy', '--templates', other);
  assert.equal(changed.code, 0, changed.stderr);
  assert.doesNotMatch(changed.stdout, /evaluated before/);
  assert.notDeepEqual(readFileSync(join(out, 'toy.json')), before);

  const valid = await runCli(['eval-elevater', '--validate', join(out, 'toy.json')]);
  assert.equal(valid.code, 0, valid.stderr);
  const submission = await runCli(['eval-elevater', '--validate', join(out, 'all_predictions.zip')]);
  assert.equal(submission.code, 1);
  assert.match(submission.stderr, /toy: is none of the 20 datasets of a submission/);
});

test('a broken picture is named', async () => {
  writeFileSync(
    join(copyOfToy('broken'), 'test', '2', 'rocket.jpg'),
    readFileSync(fixture('images', 'rocket.jpg')).subarray(0, 5000),
  );
  const out = join(folder, 'broken-out');
  const { code, stderr } = await evaluate(out, '--datasets', 'broken');
  assert.equal(code, 1);
  assert.match(stderr, /^error: .*rocket\.jpg: the picture can't be decoded/);
  assert.ok(!existsSync(join(out, 'scores.json')));
});

test('a dataset that was stopped goes on, and ends with the same bits', async () => {
  const tiny = createModel(loadModelConfig('tiny'), onnx, 1);
  const encoding = { model: tiny, batchSize: 3, workers: 1 };
  const partial = join(folder, 'partial', 'toy.partial');
  const key = 'a'.repeat(64);
  const began: number[] = [];
  const reporter: Reporter = {
    line() {},
    begin: (_, __, done = 0) => began.push(done),
    advance() {},
    end() {},
  };
  const encode = (under = key) =>
    encodePictures(encoding, openElevaterDataset(data, 'toy'), partial, under, reporter);
  const whole = await encode();
  // Stopped within the fifth picture's features: the first batch of three is kept.
  truncateSync(partial, key.length + 4.5 * 4 * tiny.config.embed_dim);
  assert.deepEqual(await encode(), whole);
  // All is there; under another key nothing is.
  assert.deepEqual(await encode(), whole);
  assert.deepEqual(await encode('b'.repeat(64)), whole);
  assert.deepEqual(began, [0, 3, 9, 0]);
});

test('the golden model and dataset of the reference', {
  skip: existsSync('../shared/golden/elevater') ? false : 'no ../shared/golden/elevater',
}, async () => {
  const shared = '../shared/golden/elevater';
  const out = join(folder, 'golden-out');
  const { code, stderr } = await runCli([
    ...['eval-elevater', '--data', shared, '--datasets', 'toy', '--model', join(shared, 'model.pt')],
    ...['--config', join(shared, 'config.json'), '--vocab', '../shared/vocab.txt'],
    ...['--templates', join(shared, 'templates.json'), '--out', out],
  ]);
  assert.equal(code, 0, stderr);
  assert.equal(readJson<{ toy: { top1: number } }>(join(out, 'scores.json')).toy.top1, 1 / 3);
  const expected = readSafetensors(join(shared, 'expected.safetensors')).get('probabilities')!.data;
  const { predictions } = readJson<{ predictions: number[][][] }>(join(out, 'toy.json'));
  assert.ok(maxDifference(predictions.flat(2), Array.from(expected, Number)) < 1e-5);
});

test('every dataset has its prompts, and every prompt a place for the name', () => {
  const prompts = loadPrompts();
  assert.equal(elevaterNames.length, 20);
  const sets = parse(readFileSync(join(evalConfigs, 'prompts.yaml'), 'utf8')) as Record<string, string[]>;
  for (const [name, { prompts: set }] of benchmarks)
    assert.equal(prompts(name).length, sets[set].length, name);
  assert.deepEqual(prompts('never heard of'), prompts('caltech-101'));
  for (const list of Object.values(sets)) assert.equal(new Set(list).size, list.length);
  assert.deepEqual(fillPrompts(['一张{}的照片', '{}和{}'], '$&猫'), ['一张$&猫的照片', '$&猫和$&猫']);
});

test('prompts of a file', () => {
  const yaml = write(join(folder, 'prompts.yaml'), "mnist: ['数字{}']\ndefault: ['{}', '{}图']\n");
  assert.deepEqual(loadPrompts(yaml)('mnist'), ['数字{}']);
  assert.deepEqual(loadPrompts(yaml)('dtd'), ['{}', '{}图']);
  const partial = loadPrompts(write(join(folder, 'partial.json'), '{"mnist": ["{}"]}'));
  refuses(() => partial('dtd'), /has no prompts for dtd/);
  refuses(() => loadPrompts(write(join(folder, 'bad.json'), '["猫"]')), /a prompt needs \{\}/);
  refuses(() => loadPrompts(write(join(folder, 'empty.json'), '{"a": []}')), /at least one prompt/);
  refuses(() => loadPrompts(join(folder, 'none.json')), /no such file/);
});

test('published results, by the config of a model', () => {
  assert.equal(recognizeModel(loadModelConfig('ViT-L-14-336')), 'ViT-L-14-336');
  assert.equal(recognizeModel(loadModelConfig('RN50')), 'RN50');
  assert.equal(recognizeModel(loadModelConfig('tiny')), undefined);
  assert.equal(publishedResult('ViT-B-16', 'mnist'), 67.6);
  assert.equal(publishedResult('ViT-H-14', 'imagenet-1k'), 59.6);
  assert.equal(publishedResult('ViT-H-14', 'gtsrb'), undefined);
});

test('a dataset that does not fit together is refused by name', async () => {
  const spoilt = (name: string, spoil: (folder: string) => void) => {
    spoil(copyOfToy(name));
    return () => openElevaterDataset(data, name);
  };
  const index = (content: unknown) => (path: string) =>
    write(join(path, 'index.json'), JSON.stringify(content));
  refuses(
    spoilt('lacks-class', (path) => rmSync(join(path, 'test', '1'), { recursive: true })),
    /the folder of class 1 \(咖啡\) is missing/,
  );
  refuses(
    spoilt('more-labels', (path) => write(join(path, 'label_cn.txt'), 'a\nb\nc\nd\n')),
    /the folder of class 3 \(d\) is missing; label_cn\.txt names 4 classes, there are 3 folders/,
  );
  refuses(
    spoilt('fewer-labels', (path) => write(join(path, 'label_cn.txt'), 'a\nb\n')),
    /names 2 classes, but test\/ has 3 class folders/,
  );
  refuses(
    spoilt('empty-label', (path) => write(join(path, 'label_cn.txt'), 'a\n\nb\n')),
    /line 2 is empty/,
  );
  refuses(
    spoilt('no-labels', (path) => rmSync(join(path, 'label_cn.txt'))),
    /label_cn\.txt: expected a class name a line/,
  );
  refuses(
    spoilt(
      'empty-class',
      (path) =>
        rmSync(join(path, 'test', '1', 'coffee.jpg')) ?? rmSync(join(path, 'test', '1', 'chelsea.webp')),
    ),
    /test\/1 holds no pictures/,
  );
  refuses(
    spoilt('no-test', (path) => rmSync(join(path, 'test'), { recursive: true })),
    /folder for each class/,
  );
  refuses(spoilt('short-index', index([0, 1, 2])), /has 3 entries for 11 pictures/);
  refuses(spoilt('twice', index([0, 1, 2, 3, 4, 5, 6, 6, 8, 9, 10])), /entry 7: 6 occurred before/);
  refuses(
    spoilt('far', index([0, 1, 2, 3, 4, 5, 6, 11, 8, 9, 10])),
    /entry 7: 11; expected the numbers 0 to 10/,
  );
  refuses(spoilt('no-list', index({})), /no list/);

  const out = join(folder, 'never');
  for (const [args, message] of [
    [['--datasets', 'toy,nowhere'], /unknown dataset nowhere: neither a folder of/],
    [['--datasets', 'mnist'], /has no folder mnist; of the known datasets it has none/],
    [['--datasets', 'toy', '--published', 'ViT-X'], /--published ViT-X: expected one of RN50/],
    [['--datasets', 'toy', '--compare', folder], /has no predictions toy\.json to compare with/],
  ] as const) {
    const { code, stderr } = await evaluate(out, ...args);
    assert.equal(code, 1);
    assert.match(stderr, message);
  }
});

test('a labels file gives the classes, several a picture too', () => {
  const path = copyOfToy('voc-2007-classification');
  rmSync(join(path, 'index.json'));
  write(
    join(path, 'labels.jsonl'),
    '{"image": "test/2/rocket.jpg", "labels": ["火箭", 1]}\n{"image": "test/0/chelsea.jpg", "label": "猫"}\n',
  );
  const dataset = openElevaterDataset(data, 'voc-2007-classification');
  assert.deepEqual(dataset.targets, [[2, 1], [0]]);
  assert.deepEqual(dataset.images, ['test/2/rocket.jpg', 'test/0/chelsea.jpg']);
  const refused = (content: string, message: RegExp) => {
    write(join(path, 'labels.jsonl'), content);
    refuses(() => openElevaterDataset(data, 'voc-2007-classification'), message);
  };
  refused('{"image": "test/2/rocket.jpg", "label": "狗"}\n', /line 1: '狗' is none of the 3 classes/);
  refused('{"image": "test/2/rocket.jpg", "label": 3}\n', /'3' is none of the 3 classes/);
  refused('{"image": "test/2/none.jpg", "label": 1}\n', /picture test\/2\/none\.jpg is not in/);
  refused('{"image": "../toy/label_cn.txt", "label": 1}\n', /expected a path inside of the folder/);
  refused('{"image": "a.jpg"}\n', /line 1: expected \{"image"/);
  refused('{"image": "test/2/rocket.jpg", "label": 1}\n'.repeat(2), /line 2: picture .* occurred before/);
});

test('own pictures: class folders, or a CSV file', () => {
  const pictures = join(toy, 'test');
  const byFolder = openOwnPictures(pictures, undefined);
  assert.deepEqual(byFolder.classNames, ['0', '1', '2']);
  // In order of their code points, as torchvision has them: - comes before the dot.
  assert.deepEqual(byFolder.images.slice(0, 4), golden.layout[0].map((name) => `0/${name}`).sort());
  assert.deepEqual(openOwnPictures(pictures, undefined, golden.labels).classNames, golden.labels);
  refuses(() => openOwnPictures(pictures, undefined, ['a']), /has 3 class folders, but 1 names are given/);
  refuses(() => openOwnPictures(join(pictures, '0'), undefined), /has no folders/);

  const csv = write(join(folder, 'own.csv'), 'label,picture\n猫,0/chelsea.jpg\n火箭|咖啡,2/rocket.jpg\n');
  const own = openOwnPictures(pictures, csv);
  assert.deepEqual([...own.classNames], ['咖啡', '火箭', '猫']);
  assert.deepEqual(own.targets, [[2], [1, 0]]);
  const bad = (content: string) => () => openOwnPictures(pictures, write(join(folder, 'bad.csv'), content));
  refuses(bad('image,class\n'), /'label' is missing/);
  refuses(bad('image,label\n0/chelsea.jpg,\n'), /line 2: expected a picture and its label/);
  refuses(bad('image,label\n'), /names no pictures/);
});

test('classify says how every class fares', async () => {
  const out = join(folder, 'own-out');
  const names = write(join(folder, 'names.txt'), golden.labels.join('\n'));
  const pictures = ['--data', join(toy, 'test'), '--class-names', names];
  const { code, stderr, stdout } = await runCli([
    'classify',
    ...pictures,
    ...model,
    '--templates',
    templates,
    '--out',
    out,
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /accuracy 18\.2 % \(\d+\.\d … \d+\.\d\) of 11 pictures/);
  assert.match(stdout, / 100\.0 % +2 of 2 +咖啡/);
  assert.match(stdout, /most confused:\n +3 +猫 taken for 咖啡|most confused:\n +4 +猫 taken for 咖啡/);
  const lines = readFileSync(join(out, 'predictions.jsonl'), 'utf8').trim().split('\n');
  assert.deepEqual(Object.keys(JSON.parse(lines[0])), ['image', 'labels', 'predicted', 'probability']);
  assert.equal(lines.length, golden.index.length);
  assert.match(readFileSync(join(out, 'confusion.svg'), 'utf8'), /^<svg .*猫 → 咖啡: \d/s);
  assert.ok(existsSync(join(out, 'report.html')));
});

test('Emoji-CN as a dataset: ten groups of the style that was held out', async () => {
  const emoji = join(folder, 'emoji', 'emoji-cn');
  await buildEmojiClasses(emoji, 'twemoji', 16);
  const { images, classNames } = openElevaterDataset(join(folder, 'emoji'), 'emoji-cn');
  assert.deepEqual([images.length, classNames.length], [benchmarks.get('emoji-cn')!.images, 10]);
  assert.equal(readdirSync(join(emoji, 'test', '2')).length, 131);
});

test('the help names the flags', async () => {
  const { stdout } = await runCli(['eval-elevater', '--help']);
  for (const flag of ['data', 'datasets', 'model', 'config', 'vocab', 'templates', 'out']) {
    assert.match(stdout, new RegExp(`--${flag} <`));
  }
  assert.ok(existsSync(join(packageRoot, 'configs', 'eval', 'elevater.yaml')));
});
