import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { exportOnnx, writeCheckpoint } from '../src/index.js';
import { runCli } from './runCli.js';
import { fixture, maxDifference, onnx, readJson, temporaryDirectory, tinyModel } from './support.js';

// Commands that encode give the same with a model and with its fp32 files.
const folder = temporaryDirectory();
const checkpoint = join(folder, 'checkpoint');
const prefix = join(folder, 'deploy', 'clip');
const model = tinyModel(onnx);
const { layout, labels } = readJson<{ layout: Record<string, string[]>; labels: string[] }>(
  fixture('zeroshot.json'),
);
const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...new Set(`${labels.join('')}一张的图照片`)];
const data = join(folder, 'data');
const pictures = join(data, 'toy', 'test');
const templates = join(folder, 'templates.json');
const names = join(data, 'toy', 'label_cn.txt');

before(async () => {
  writeCheckpoint(checkpoint, { weights: model.tensors, config: model.config, vocabulary });
  await exportOnnx(model, { out: prefix, vocabulary });
  for (const [name, files] of Object.entries(layout)) {
    mkdirSync(join(pictures, name), { recursive: true });
    for (const file of files) copyFileSync(fixture('images', file), join(pictures, name, file));
  }
  writeFileSync(names, `${labels.join('\n')}\n`);
  writeFileSync(templates, JSON.stringify(['一张{}的图', '{}的照片']));
});

/** Runs a command with a model, and gives the folder that it wrote. */
async function outputOf(name: string, location: string, ...flags: string[]): Promise<string> {
  const out = join(folder, `${name}-${location === prefix}`);
  const { code, stderr } = await runCli([name, ...flags, '--model', location, '--out', out]);
  assert.equal(code, 0, stderr);
  return out;
}

test('classify predicts the same', async () => {
  interface Line {
    image: string;
    predicted: string;
    probability: number;
  }
  const flags = ['--data', pictures, '--class-names', names, '--templates', templates];
  const lines = async (location: string) => {
    const out = await outputOf('classify', location, ...flags);
    const text = readFileSync(join(out, 'predictions.jsonl'), 'utf8');
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
  };
  const [expected, found] = [await lines(checkpoint), await lines(prefix)];
  assert.equal(expected.length, Object.values(layout).flat().length);
  const classOf = ({ image, predicted }: Line) => [image, predicted];
  assert.deepEqual(found.map(classOf), expected.map(classOf));
  const probability = (line: Line) => line.probability;
  assert.ok(maxDifference(found.map(probability), expected.map(probability)) < 1e-4);
});

test('eval-elevater gives the same scores and probabilities', async () => {
  const flags = ['--data', data, '--datasets', 'toy', '--templates', templates];
  const result = async (location: string) => {
    const out = await outputOf('eval-elevater', location, ...flags);
    return {
      score: readJson<{ toy: { value: number } }>(join(out, 'scores.json')).toy.value,
      probabilities: readJson<{ predictions: number[][][] }>(join(out, 'toy.json')).predictions.flat(2),
    };
  };
  const [expected, found] = [await result(checkpoint), await result(prefix)];
  assert.equal(expected.probabilities.length, 11 * labels.length);
  assert.equal(found.score, expected.score);
  assert.ok(maxDifference(found.probabilities, expected.probabilities) < 1e-4);
});

test('serve finds the same by text and by picture', async () => {
  const query = new Uint8Array(readFileSync(fixture('images', 'chelsea-tiny.png')));
  const search = async (location: string) => {
    const index = await outputOf('index', location, pictures);
    assert.equal(
      readJson<{ model: { location: string } }>(join(index, 'manifest.json')).model.location,
      location,
    );
    // Cosines by picture, the best first. Some pictures are so much alike that the last bits order them.
    const answers: Map<string, number>[] = [];
    let asked: Promise<void> | undefined;
    const { code, stderr } = await runCli(['serve', index, '--port', '0'], (child) => {
      const ask = async (url: string) => {
        const byText = await fetch(new URL(`/search?q=${encodeURIComponent('一张火箭的图')}`, url));
        const headers = { 'Content-Type': 'image/png' };
        const byPicture = await fetch(new URL('/search', url), { method: 'POST', body: query, headers });
        for (const answer of [byText, byPicture]) {
          const { results } = (await answer.json()) as { results: { name: string; cosine: number }[] };
          answers.push(new Map(results.map(({ name, cosine }) => [name, cosine])));
        }
      };
      child.stdout!.on('data', (text: Buffer) => {
        const url = /(http:\S+) serves 11 pictures/.exec(String(text))?.[1];
        if (url !== undefined) asked = ask(url).finally(() => child.kill('SIGTERM'));
      });
    });
    assert.equal(code, 0, stderr);
    await asked;
    return answers;
  };
  const [expected, found] = [await search(checkpoint), await search(prefix)];
  assert.equal(expected.length, 2);
  for (const [i, cosines] of expected.entries()) {
    assert.equal(cosines.size, 11);
    assert.equal([...found[i].keys()][0], [...cosines.keys()][0]);
    const inOrder = Array.from(cosines.keys(), (name) => found[i].get(name) ?? Number.NaN);
    assert.ok(maxDifference(inOrder, [...cosines.values()]) < 1e-4);
  }
  assert.equal([...expected[1].keys()][0], '2/chelsea-tiny.png');
});
