import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { elevaterNames } from '../src/eval/classification/benchmarks.js';
import { readProbabilities, writePredictionFile } from '../src/eval/classification/predictions.js';
import { writeSubmission } from '../src/eval/classification/submission.js';
import { validatePredictions } from '../src/eval/classification/validate.js';
import { crc32 } from '../src/io/crc.js';
import { openZipFile, writeZipFile } from '../src/io/zipFile.js';
import { temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
let files = 0;

const header = {
  model_name: 'tiny',
  dataset_name: 'kitti-distance',
  num_trainable_params: 0,
  num_params: 10,
  num_visual_params: 4,
  num_backbone_params: 10,
  n_shot: 0,
  rnd_seeds: [0],
};

/** A prediction file of kitti-distance: 711 rows of 4 classes, with fields replaced. */
function predictionFile(changes: Record<string, unknown> = {}, rows: unknown = fullRows()): string {
  return write(JSON.stringify({ ...header, predictions: [rows], ...changes }), 'json');
}

function fullRows(): number[][] {
  return Array.from({ length: 711 }, (_, i) => [0.25, 0.5, 0.25 - (i % 4) / 16, (i % 4) / 16]);
}

function write(content: string | Uint8Array, extension: string): string {
  const path = join(folder, `${++files}.${extension}`);
  writeFileSync(path, content);
  return path;
}

async function* chunks(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

async function unpack(path: string): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of openZipFile(path).data) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

test('a prediction file holds rows with six decimals, in the order asked for', async () => {
  const path = join(folder, 'toy.json');
  const probabilities = Float32Array.of(0.1, 0.9, 1 / 3, 2 / 3, 1e-9, 1);
  writePredictionFile(path, header, probabilities, 2, Int32Array.of(2, 0, 1));
  const { predictions, ...fields } = JSON.parse(readFileSync(path, 'utf8'));
  assert.deepEqual(fields, header);
  assert.deepEqual(Object.keys(fields), Object.keys(header));
  assert.deepEqual(predictions, [
    [
      [0, 1],
      [0.1, 0.9],
      [0.333333, 0.666667],
    ],
  ]);
  assert.deepEqual(
    [...(await readProbabilities(path, 3, 2))],
    [...Float32Array.of(0, 1, 0.1, 0.9, 0.333333, 0.666667)],
  );
  await assert.rejects(readProbabilities(path, 4, 2), /expected 4 rows of probabilities, found 3/);
  await assert.rejects(readProbabilities(path, 3, 3), /expected 3 rows of 3 probabilities; row 0 has 2/);
  await assert.rejects(readProbabilities(write('{"predictions":[[[0.5,0.5]', 'json'), 1, 2), /is no JSON/);
});

test('the validator takes what is right and names what is not', async () => {
  assert.deepEqual(await validatePredictions(predictionFile()), {
    datasets: ['kitti-distance: 711 rows of 4 classes'],
    problems: [],
  });
  const oneRow = (row: unknown) => [...fullRows().slice(1), row];
  const cases: [string, RegExp][] = [
    [predictionFile({ num_params: -1 }), /num_params: expected a number/],
    [predictionFile({ model_name: undefined }), /model_name: expected a text/],
    [predictionFile({ n_shot: 5 }), /n_shot: expected 0/],
    [predictionFile({ rnd_seeds: 'x' }), /rnd_seeds: expected a list/],
    [predictionFile({ rnd_seeds: [0, 1] }), /1 rounds for 2 rnd_seeds/],
    [predictionFile({ predictions: undefined }), /found none/],
    [predictionFile({}, fullRows().slice(1)), /has 710 rows, the dataset 711/],
    [
      predictionFile(
        {},
        fullRows().map((row) => [...row, 0]),
      ),
      /rows have 5 values, the dataset 4/,
    ],
    [predictionFile({}, oneRow([1, 0, 0])), /row 710 has 3 values, others 4/],
    [predictionFile({}, oneRow([0.5, 0.6, -0.1, 0])), /row 710 holds -0.1/],
    [predictionFile({}, oneRow([0.5, null, 0.5, 0])), /row 710 holds null/],
    [predictionFile({}, oneRow([0.5, 0.2, 0.2, 0])), /row 710 sums to 0.9/],
    [
      predictionFile(
        {},
        fullRows().map(() => [1, 1, 0, 0]),
      ),
      /sums to 2\), 711 in all/,
    ],
  ];
  for (const [path, problem] of cases) {
    const { problems } = await validatePredictions(path);
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.match(problems[0], problem);
  }
  await assert.rejects(validatePredictions(write('[]', 'json')), /expected an object/);
  await assert.rejects(validatePredictions(write('{"predictions": [1]}', 'json')), /expected \[\[\[p/);
});

test('a submission holds the prediction files as they are', async () => {
  const path = join(folder, 'all_predictions.zip');
  const [first, second] = [predictionFile(), predictionFile({ dataset_name: 'toy' })];
  await writeSubmission(path, [first, second]);
  const { data } = JSON.parse(await unpack(path));
  assert.deepEqual(
    data,
    [first, second].map((file) => JSON.parse(readFileSync(file, 'utf8'))),
  );
  const { datasets, problems } = await validatePredictions(path);
  assert.equal(datasets.length, 2);
  assert.match(problems[0], /toy: is none of the 20 datasets/);
  const missing = elevaterNames.filter((name) => name !== 'kitti-distance').join(', ');
  assert.equal(problems[1], `datasets are missing: ${missing}`);
  await writeSubmission(path, [first, first]);
  assert.match((await validatePredictions(path)).problems[0], /kitti-distance: occurs twice/);
});

test('the zip file is one that others read', {
  skip: existsSync('/usr/bin/unzip') ? false : 'no unzip',
}, async () => {
  const path = join(folder, 'other.zip');
  await writeZipFile(path, 'a.txt', chunks('一', 'two'));
  assert.equal(execFileSync('/usr/bin/unzip', ['-p', path]).toString(), '一two');
});

test('damaged zip files are refused', async () => {
  const path = join(folder, 'whole.zip');
  await writeZipFile(path, 'all_predictions.json', chunks('{"data":[', ']}', 'x'.repeat(1000)));
  const whole = readFileSync(path);
  assert.equal(await unpack(path), `{"data":[]}${'x'.repeat(1000)}`);
  const damaged = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(whole);
    change(bytes);
    return write(bytes, 'zip');
  };
  const end = whole.length - 22;
  const entry = whole.readUInt32LE(end + 16);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt32LE(0, end))), /has no directory/);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt16LE(2, end + 10))), /has 2 members/);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt32LE(0xfffffff0, end + 16))), /truncated/);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt16LE(9, entry + 10))), /packed by method 9/);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt32LE(1e9, entry + 20))), /cut off/);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt32LE(5, entry + 24))), /longer than/);
  await assert.rejects(unpack(damaged((bytes) => bytes.writeUInt32LE(1, entry + 16))), /checksum/);
  await assert.rejects(unpack(damaged((bytes) => bytes.fill(0xff, 50, 60))), /damaged/);
  await assert.rejects(unpack(write(whole.subarray(0, 40), 'zip')), /no directory/);
});

test('a member that is stored, or empty, is read', async () => {
  const path = join(folder, 'stored.zip');
  await writeZipFile(path, 'a', chunks());
  assert.equal(await unpack(path), '');
  const bytes = readFileSync(path);
  const entry = bytes.readUInt32LE(bytes.length - 6);
  bytes.writeUInt16LE(0, entry + 10);
  bytes.writeUInt32LE(0, entry + 20);
  assert.equal(await unpack(write(bytes, 'zip')), '');
});

test('an error of any stream of a zip file is the error of the whole', async () => {
  const path = join(folder, 'streams.zip');
  const failing = async function* () {
    yield Buffer.alloc(1 << 20);
    throw new Error('the data broke');
  };
  await assert.rejects(writeZipFile(path, 'a', failing()), /the data broke/);
  assert.ok(!existsSync(path));
  await writeZipFile(path, 'a', chunks('一'));
  const { data } = openZipFile(path);
  rmSync(path);
  await assert.rejects(
    (async () => {
      for await (const _ of data);
    })(),
    (error: Error) => error.name === 'UserError' && error.message.includes(path),
  );
});

test('data are let go of where their zip file can be written no further', {
  skip: existsSync('/usr/bin/mkfifo') ? false : 'no mkfifo',
}, async () => {
  const path = join(folder, 'pipe.zip');
  // What is written goes into a pipe, which nobody reads after the second chunk.
  const pipe = `${path}.${process.pid}.tmp`;
  execFileSync('/usr/bin/mkfifo', [pipe]);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  let isClosed = false;
  const endless = async function* () {
    try {
      for (let chunk = 0; ; chunk++) {
        if (chunk === 2) closeSync(reader);
        yield randomBytes(1 << 14);
      }
    } finally {
      isClosed = true;
    }
  };
  await assert.rejects(writeZipFile(path, 'a', endless()), /EPIPE/);
  assert.ok(isClosed);
});

test('CRC-32 goes on where it ended', () => {
  // The check value of the algorithm.
  assert.equal(crc32(Buffer.from('123456789')), 0xcbf43926);
  assert.equal(crc32(Buffer.from('6789'), crc32(Buffer.from('12345'))), 0xcbf43926);
});
