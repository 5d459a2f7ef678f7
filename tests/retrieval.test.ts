import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  readFeatures,
  readTextAnnotation,
  selectFeatures,
  writeImageAnnotation,
  writePredictions,
  writeScores,
} from '../src/eval/files.js';
import { evaluateRetrieval, invertAnnotation } from '../src/eval/retrieval.js';

const golden = fileURLToPath(new URL('../../tests/fixtures/retrieval/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'cn-clip-retrieval-'));
after(() => rmSync(folder, { recursive: true }));

/** Twelve images, ids 100 to 111, that a text (t, 1) ranks by their distance from t: image i scores t·i - i²/2. */
function handWorkedCase() {
  const imageIds = Array.from({ length: 12 }, (_, i) => 100 + i);
  const imageFeatures = Float32Array.from(imageIds.flatMap((_, i) => [i, (-i * i) / 2]));
  return { imageIds, imageFeatures, dimension: 2 };
}

/** Asserts that `act` refuses with a UserError that says so. */
async function refuses(act: () => unknown, message: RegExp): Promise<void> {
  await assert.rejects(async () => act(), { name: 'UserError', message });
}

test('golden: both directions reproduce the reference files byte for byte', async () => {
  const images = readFeatures(join(golden, 'imgs.img_feat.jsonl'), 'image_id');
  const textRows = readFeatures(join(golden, 'texts.txt_feat.jsonl'), 'text_id');
  const texts = readTextAnnotation(join(golden, 'texts.jsonl'));
  const ids = texts.map((text) => text.textId);
  const { textToImage, imageToText } = await evaluateRetrieval({
    imageIds: images.ids,
    imageFeatures: images.features,
    texts,
    textFeatures: selectFeatures(textRows, ids, 'text'),
    dimension: images.dimension,
  });
  const written = (name: string, write: (path: string) => void) => {
    const path = join(folder, name);
    write(path);
    assert.equal(readFileSync(path, 'utf8'), readFileSync(join(golden, name), 'utf8'), name);
  };
  written('t2i_predictions.jsonl', (path) => writePredictions(path, 'textToImage', textToImage.predictions));
  written('i2t_predictions.jsonl', (path) => writePredictions(path, 'imageToText', imageToText.predictions));
  written('t2i_score.json', (path) => writeScores(path, textToImage.scores));
  written('i2t_score.json', (path) => writeScores(path, imageToText.scores));
  written('texts.tr.jsonl', (path) => writeImageAnnotation(path, invertAnnotation(texts)));
  assert.deepEqual([textToImage.scores.queryCount, textToImage.scores.poolSize], [90, 60]);
  assert.deepEqual([imageToText.scores.queryCount, imageToText.scores.poolSize], [59, 90]);
});

test('recall of a hand-worked case, text→image', async () => {
  // A text at t ranks the images by distance from t, the lower id first of two that are equally far:
  // t = 0: 0 1 2 3 …        t = 5: 5 4 6 3 7 2 8 1 9 0 …        t = 11: 11 10 9 …
  const at = [0, 0, 5, 5, 11];
  const texts = [
    { textId: 'a', imageIds: [100] }, // rank 1
    { textId: 'b', imageIds: [111, 104] }, // ranks 12 and 5: counts at 5
    { textId: 'c', imageIds: [102] }, // rank 6: counts at 10
    { textId: 'd', imageIds: [111] }, // rank 12: never
    { textId: 'e', imageIds: [] }, // no true image: a miss
  ];
  const { textToImage } = await evaluateRetrieval({
    ...handWorkedCase(),
    texts,
    textFeatures: Float32Array.from(at.flatMap((t) => [t, 1])),
  });
  assert.deepEqual(textToImage.predictions[2], {
    queryId: 'c',
    candidateIds: [105, 104, 106, 103, 107, 102, 108, 101, 109, 100],
  });
  assert.equal(textToImage.predictions.length, 5);
  const { recallAt1, recallAt5, recallAt10, meanRecall, chance, queryCount, poolSize } = textToImage.scores;
  assert.deepEqual([recallAt1, recallAt5, recallAt10], [20, 40, 60]);
  assert.deepEqual([...textToImage.ranks], [1, 5, 6, 12, Number.POSITIVE_INFINITY]);
  assert.equal(textToImage.scores.medianRank, 6);
  assert.ok(Math.abs(meanRecall - 40) < 1e-12);
  assert.deepEqual([queryCount, poolSize], [5, 12]);
  // Chance at 1: three texts with 1 of 12, one with 2 of 12, one with none. At 10, two of 12 are both missed
  // only where they are the last two: 2/12 · 1/11.
  const close = (value: number, expected: number) => assert.ok(Math.abs(value - expected) < 1e-9, `${value}`);
  close(chance.recallAt1, (100 * (3 / 12 + 2 / 12)) / 5);
  close(chance.recallAt10, (100 * (3 * (10 / 12) + (1 - 2 / 132))) / 5);
});

test('recall of a hand-worked case, image→text', async () => {
  // Image i scores t·i - i²/2 for text t: every image but 0 prefers the greatest t; image 0 sees all texts tie.
  const texts = [
    { textId: 1, imageIds: [100, 107] },
    { textId: 2, imageIds: [] },
    { textId: 3, imageIds: [107] },
    { textId: 4, imageIds: [111] },
    { textId: 5, imageIds: [103] },
    { textId: 6, imageIds: [103, 105] },
  ];
  const { imageToText } = await evaluateRetrieval({
    ...handWorkedCase(),
    texts,
    textFeatures: Float32Array.from(texts.flatMap((_, t) => [t, 1])),
  });
  assert.deepEqual(imageToText.predictions[0], { queryId: 100, candidateIds: [1, 2, 3, 4, 5, 6] });
  assert.deepEqual(imageToText.predictions[7], { queryId: 107, candidateIds: [6, 5, 4, 3, 2, 1] });
  assert.equal(imageToText.predictions.length, 12);
  // Annotated images: 100 (text 1, rank 1), 107 (texts 1 and 3, rank 4), 111 (text 4, rank 3),
  // 103 (texts 5 and 6, rank 1), 105 (text 6, rank 1).
  const { recallAt1, recallAt5, recallAt10, queryCount, poolSize, chance } = imageToText.scores;
  assert.deepEqual([recallAt1, recallAt5, recallAt10, queryCount, poolSize], [60, 100, 100, 5, 6]);
  assert.deepEqual(
    [...imageToText.ranks].filter((rank) => !Number.isNaN(rank)),
    [1, 1, 1, 4, 3],
  );
  assert.equal(imageToText.scores.medianRank, 1);
  assert.ok(Math.abs(chance.recallAt1 - (100 * (3 * (1 / 6) + 2 * (2 / 6))) / 5) < 1e-9);
  assert.equal(chance.recallAt10, 100);
});

test('an annotation turned round keeps the order of first mention', () => {
  const texts = [
    { textId: 'x', imageIds: [9, '9'] },
    { textId: 'y', imageIds: [3, 9] },
    { textId: 'z', imageIds: [] },
  ];
  assert.deepEqual(invertAnnotation(texts), [
    { imageId: 9, textIds: ['x', 'y'] },
    { imageId: '9', textIds: ['x'] },
    { imageId: 3, textIds: ['y'] },
  ]);
});

test('evaluateRetrieval refuses data that does not fit together', async () => {
  const { imageIds, imageFeatures, dimension } = handWorkedCase();
  const base = { imageIds, imageFeatures, dimension, textFeatures: new Float32Array([1, 1]) };
  const text = (imageIds: (number | string)[]) => [{ textId: 7, imageIds }];
  await refuses(
    () => evaluateRetrieval({ ...base, texts: text(['100']) }),
    /text 7 names image "100".* the 12 images/,
  );
  await refuses(() => evaluateRetrieval({ ...base, texts: text([]) }), /nothing to score/);
  await refuses(() => evaluateRetrieval({ ...base, texts: [] }), /0 text ids need 0 feature values/);
  const repeated = { ...base, imageIds: imageIds.map((id) => Math.min(id, 110)) };
  await refuses(() => evaluateRetrieval({ ...repeated, texts: text([100]) }), /image id 110 occurs twice/);
});
