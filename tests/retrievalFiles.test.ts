import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  readFeatures,
  readTextAnnotation,
  selectFeatures,
  writePredictions,
  writeScores,
} from '../src/eval/files.js';
import { predict } from '../src/eval/retrieval.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-retrieval-files-'));
after(() => rmSync(folder, { recursive: true }));

/** Writes a scratch file and returns its path. */
function scratch(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Asserts that `act` refuses with a UserError that says so. */
function refuses(act: () => unknown, message: RegExp): void {
  assert.throws(act, { name: 'UserError', message });
}

test('ids stay numbers or strings; other characters are written as the reference writes them', async () => {
  const path = scratch('ids.jsonl', '{"image_id": "007", "feature": [1]}\n{"image_id": 7, "feature": [2.5]}');
  const images = readFeatures(path, 'image_id');
  assert.deepEqual(images.ids, ['007', 7]);
  assert.deepEqual([...images.features], [1, 2.5]);
  const predictions = await predict(['猫😀"'], new Float32Array([1]), images.ids, images.features, 1);
  const out = join(folder, 'out.jsonl');
  writePredictions(out, 'textToImage', predictions);
  const expected = '{"text_id": "\\u732b\\ud83d\\ude00\\"", "image_ids": [7, "007"]}\n';
  assert.equal(readFileSync(out, 'utf8'), expected);
  assert.deepEqual([...selectFeatures(images, [7, '007'], 'image')], [2.5, 1]);
  refuses(() => selectFeatures(images, ['7'], 'image'), /image "7" has no feature/);
});

test('whole percentages are written as Python floats', () => {
  const path = join(folder, 'score.json');
  writeScores(path, { recallAt1: 0, recallAt5: 50, recallAt10: 100, meanRecall: 50 });
  const scores = '{"score": 50.0, "mean_recall": 50.0, "r1": 0.0, "r5": 50.0, "r10": 100.0}';
  assert.equal(readFileSync(path, 'utf8'), `{"success": true, "score": 50.0, "scoreJson": ${scores}}`);
});

test('a feature file is read over chunk borders', () => {
  const dimension = 300;
  const rows = Array.from({ length: 500 }, (_, id) => ({
    text_id: `文${id}`,
    feature: Array.from({ length: dimension }, (_, i) => Math.fround(Math.sin(id * dimension + i))),
  }));
  const path = scratch('large.jsonl', `${rows.map((row) => JSON.stringify(row)).join('\r\n')}\r\n`);
  const { ids, features } = readFeatures(path, 'text_id');
  assert.ok(readFileSync(path).length > 2 << 20);
  assert.deepEqual(
    ids,
    rows.map((row) => row.text_id),
  );
  assert.deepEqual(
    [...features],
    rows.flatMap((row) => row.feature),
  );
});

test('bad files get one message with file and line', () => {
  const good = '{"image_id": 1, "feature": [1, 2]}\n';
  const features: [string, RegExp][] = [
    ['{"text_id": 2, "feature": [1, 2]}', /line 2: expected "image_id" to hold a number or string/],
    ['{"image_id": 12345678901234567890, "feature": [1, 2]}', /line 2: "image_id".*as a string/],
    ['{"image_id": 1, "feature": [1, 2]}', /line 2: "image_id" 1 occurred before/],
    ['{"image_id": 2, "feature": [1]}', /line 2: "feature" has 1 values, the lines before have 2/],
    ['{"image_id": 2, "feature": []}', /line 2: expected "feature", a list/],
    ['{"image_id": 2, "feature": [1, "2"]}', /line 2: "feature" value 1 is no finite float32/],
    ['{"image_id": 2, "feature": [1, 1e39]}', /line 2: "feature" value 1 is no finite float32/],
    ['{"image_id": 2, "feature": [1, NaN]}', /line 2: expected one JSON object/],
    ['{"image_id": 2, "feature": [1, ', /line 2: expected one JSON object/],
    ['', /line 2: expected one JSON object \(the line is empty\)/],
    ['[1, 2]', /line 2: expected one JSON object, found a list/],
  ];
  for (const [line, message] of features) {
    const path = scratch('bad.jsonl', `${good}${line}\n`);
    refuses(() => readFeatures(path, 'image_id'), new RegExp(`bad\\.jsonl, ${message.source}`));
  }
  const binary = scratch('binary.jsonl', Buffer.from('{"image_id": "\xff", "feature": [1]}', 'latin1'));
  refuses(() => readFeatures(binary, 'image_id'), /binary\.jsonl, line 1: expected one JSON object.*utf-8/);
  const endless = scratch('endless.jsonl', good);
  truncateSync(endless, 66 << 20);
  refuses(() => readFeatures(endless, 'image_id'), /endless\.jsonl, line 2: longer than 64 MiB/);
  refuses(() => readFeatures(scratch('empty.jsonl', ''), 'image_id'), /empty\.jsonl: the file is empty/);
  refuses(() => readFeatures(join(folder, 'missing.jsonl'), 'image_id'), /missing\.jsonl: can't be opened/);
  refuses(() => readFeatures(folder, 'image_id'), /can't be read/);

  const text = '{"text_id": 1, "text": "x", "image_ids": [1]}\n';
  const annotations: [string, RegExp][] = [
    ['{"text_id": 2, "text": "x"}', /line 2: expected "image_ids", a list of ids/],
    ['{"text_id": 2, "image_ids": [[1]]}', /line 2: expected "image_ids" to hold a number or string/],
    ['{"text_id": 1, "image_ids": [1]}', /line 2: "text_id" 1 occurred before/],
    ['{"image_ids": [1]}', /line 2: expected "text_id" to hold a number or string, found undefined/],
  ];
  for (const [line, message] of annotations) {
    const path = scratch('texts.jsonl', `${text}${line}\n`);
    refuses(() => readTextAnnotation(path), new RegExp(`texts\\.jsonl, ${message.source}`));
  }
});
