import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { evaluateRetrieval } from '../src/eval/retrieval.js';
import { shownPicture } from '../src/image/shownPicture.js';
import { reportOf, writeClassificationReport } from '../src/report/classificationReport.js';
import { gatherExamples } from '../src/report/retrievalExamples.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();

/** A BMP file of one red pixel. */
const bmp = Buffer.alloc(58);
bmp.write('BM');
bmp.writeUInt32LE(54, 10);
bmp.writeUInt32LE(40, 14);
bmp.writeInt32LE(1, 18);
bmp.writeInt32LE(1, 22);
bmp.writeUInt16LE(1, 26);
bmp.writeUInt16LE(24, 28);
bmp[56] = 255;

async function firstPixel(jpeg: Buffer): Promise<number[]> {
  return [...(await sharp(jpeg).raw().toBuffer()).subarray(0, 3)];
}

function assertNear(actual: number[], expected: number[]): void {
  for (const [i, value] of actual.entries()) assert.ok(Math.abs(value - expected[i]) <= 3, `${actual}`);
}

test('whatever the model can take is shown: a BMP file, transparency on white, inks', async () => {
  assertNear(await firstPixel(await shownPicture(bmp, 'a.bmp', 8)), [255, 0, 0]);
  const background = { r: 255, g: 0, b: 0, alpha: 0 };
  const clear = await sharp({ create: { width: 40, height: 20, channels: 4, background } })
    .png()
    .toBuffer();
  const shown = await shownPicture(clear, 'clear.png', 16);
  const { width, height, format } = await sharp(shown).metadata();
  assert.deepEqual([width, height, format], [16, 8, 'jpeg']);
  assertNear(await firstPixel(shown), [255, 255, 255]);
  const blue = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#0000ff' } })
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer();
  const [red, , blueness] = await firstPixel(await shownPicture(blue, 'inks.jpg', 16));
  assert.ok(blueness > red + 50, `${red} ${blueness}`);
  await assert.rejects(
    shownPicture(Buffer.from('<svg/>'), 'x.svg', 8),
    /x\.svg: no picture that can be read/,
  );
});

test('a report of classification is written with a BMP picture, and without one that is gone', async () => {
  writeFileSync(join(folder, 'a.bmp'), bmp);
  const predictions = {
    probabilities: Float32Array.of(0.1, 0.9, 0.8, 0.2),
    classCount: 2,
    targets: [[0], [1]],
  };
  const interval = { low: 0, high: 0 };
  const report = await reportOf({
    dataset: {
      name: 'pictures',
      folder,
      classNames: ['cat', 'dog'],
      images: ['a.bmp', 'gone.png'],
      targets: predictions.targets,
    },
    score: {
      metric: 'accuracy',
      ...{ value: 0, top1: 0, valueInterval: interval, top1Interval: interval },
      ...{ images: 2, classes: 2, fingerprint: '' },
    },
    predictions,
  });
  const path = join(folder, 'report.html');
  writeClassificationReport(path, {
    title: 'Test',
    modelName: 'tiny',
    publishedModel: undefined,
    rows: [{ name: 'pictures', score: report.score, published: undefined, comparison: undefined }],
    datasets: [report],
  });
  const page = readFileSync(path, 'utf8');
  assert.match(page, /<img src="data:image\/jpeg;base64,[^"]+" alt="a\.bmp">/);
  assert.match(page, /<span class="quiet">[^<]*gone\.png/);
});

test('examples of retrieval do without a picture that is gone', async () => {
  const texts = [
    { textId: 1, text: 'one', imageIds: ['a'] },
    { textId: 2, text: 'two', imageIds: ['b'] },
  ];
  const imageIds = ['a', 'b'];
  const imageFeatures = Float32Array.of(1, 0, 0, 1);
  const textFeatures = Float32Array.of(1, 0, 0.6, 0.8);
  const result = await evaluateRetrieval({ imageIds, imageFeatures, texts, textFeatures, dimension: 2 });
  const evaluation = { imageIds, imageFeatures, texts, textFeatures, dimension: 2, ...result };
  const { textToImage } = await gatherExamples(evaluation, {
    image(row) {
      if (row === 1) throw new Error('the disk is gone');
      return { bytes: bmp, name: 'a.bmp' };
    },
  });
  const shown = textToImage.best[0].results;
  assert.deepEqual(
    shown.map(({ id }) => id),
    imageIds,
  );
  assert.ok(shown[0].image instanceof Buffer);
  assert.equal(shown[1].image, 'the disk is gone');
});
