import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { UserError } from '../src/errors.js';
import { normalize, topK } from '../src/eval/ranking.js';
import { Random } from '../src/random.js';
import { ApproximateSearch } from '../src/search/approximateSearch.js';
import { checkGraphFile } from '../src/search/graphFile.js';
import { wantsGraph } from '../src/search/openSearch.js';
import { type GraphDescription, readIndex } from '../src/search/pictureIndex.js';
import { assertRefused } from './hostile.js';
import { mutate } from './mutate.js';
import { runCli } from './runCli.js';
import { fixture, onnx, temporaryDirectory, tinyModel } from './support.js';

const ROWS = 3000;
const DIMENSION = 32;
const folder = temporaryDirectory();
const path = join(folder, 'graph.usearch');
const features = clustered(ROWS, 'pictures');
const headAt = 8 + ROWS * DIMENSION;
let description: GraphDescription;

/** Unit features around fifty centres. */
function clustered(rows: number, name: string): Float32Array {
  const random = new Random(0, 'centres');
  const centres = Float32Array.from({ length: 50 * DIMENSION }, () => random.normal());
  const own = new Random(0, name);
  const values = new Float32Array(rows * DIMENSION);
  for (let row = 0; row < rows; row++) {
    const centre = own.integer(50) * DIMENSION;
    for (let i = 0; i < DIMENSION; i++) values[row * DIMENSION + i] = centres[centre + i] + own.normal();
  }
  return normalize(values, DIMENSION);
}

before(async () => {
  description = (await ApproximateSearch.build(path, features, DIMENSION, () => true))!;
});

test('approximate search finds nearly all that exact search does, with the same scores', async () => {
  assert.ok(description.recallAt10 > 0.97 && description.recallAt10 <= 1, String(description.recallAt10));
  const search = await ApproximateSearch.open(path, description.sha256, features, DIMENSION);
  const queries = clustered(200, 'queries');
  const exact = await topK(queries, features, DIMENSION, 10);
  const found = await search.topK(queries, 10);
  assert.equal(found.k, 10);
  let hits = 0;
  for (let query = 0; query < 200; query++) {
    const scores = new Map(
      Array.from({ length: 10 }, (_, i) => [exact.indices[10 * query + i], exact.scores[10 * query + i]]),
    );
    const order = found.scores.subarray(10 * query, 10 * query + 10);
    assert.deepEqual(order, order.slice().sort().reverse());
    for (const [i, score] of order.entries()) {
      const known = scores.get(found.indices[10 * query + i]);
      if (known === undefined) continue;
      assert.equal(score, known);
      hits++;
    }
  }
  assert.ok(hits > 0.97 * 2000, `${hits} of 2000`);
});

test('of equal scores the earlier picture comes first; more than there are can be asked for', async () => {
  const equal = join(folder, 'equal');
  const few = normalize(new Float32Array(5 * DIMENSION).fill(1), DIMENSION);
  const { sha256 } = (await ApproximateSearch.build(equal, few, DIMENSION, () => true))!;
  const search = await ApproximateSearch.open(equal, sha256, few, DIMENSION);
  const { k, indices } = await search.topK(few.subarray(0, DIMENSION), 9);
  assert.equal(k, 5);
  assert.deepEqual([...indices], [0, 1, 2, 3, 4]);
});

test('building ends when it is told to', async () => {
  const stopped = join(folder, 'stopped');
  assert.equal(await ApproximateSearch.build(stopped, features, DIMENSION, () => false), undefined);
  assert.ok(!existsSync(stopped));
});

test('a graph of other features or with damaged vectors is refused by its checksum', async () => {
  const damaged = join(folder, 'vectors');
  const bytes = readFileSync(path);
  bytes[1000] ^= 1;
  writeFileSync(damaged, bytes);
  const open = ApproximateSearch.open(damaged, description.sha256, features, DIMENSION);
  await assert.rejects(open, (error: Error) => error instanceof UserError && /checksum/.test(error.message));
});

test('a graph that would lead usearch astray is refused, whatever its checksum', () => {
  const whole = readFileSync(path);
  const nodesAt = headAt + 104 + 2 * ROWS;
  const cases: [string, RegExp, (bytes: Buffer) => Buffer][] = [
    ['equal bytes', /too few/, () => Buffer.alloc(1000, 7)],
    ['nothing', /too few/, () => Buffer.alloc(0)],
    ['cut short', /too few|node/, (bytes) => bytes.subarray(0, bytes.length - 9)],
    ['longer', /left over/, (bytes) => Buffer.concat([bytes, Buffer.alloc(4)])],
    ['rows', /states/, (bytes) => set(bytes, 0, 4, 2 ** 32 - 1)],
    ['bytes of a row', /states/, (bytes) => set(bytes, 4, 4, 8 * DIMENSION)],
    ['kind of numbers', /head/, (bytes) => set(bytes, headAt + 14, 1, 10)],
    ['dimension', /head/, (bytes) => set(bytes, headAt + 33, 4, 4 * DIMENSION)],
    ['links of a node', /head/, (bytes) => set(bytes, headAt + 72, 4, 255)],
    ['entry', /begins/, (bytes) => set(bytes, headAt + 96, 4, ROWS)],
    ['level', /level|begins/, (bytes) => set(bytes, headAt + 104, 2, 30)],
    ['negative level', /level|begins/, (bytes) => set(bytes, headAt + 104, 2, 0xffff)],
    ['key', /picture/, (bytes) => set(bytes, nodesAt, 4, ROWS)],
    ['count of links', /links/, (bytes) => set(bytes, nodesAt + 10, 4, 1000)],
    ['link', /link to/, (bytes) => set(bytes, nodesAt + 14, 4, ROWS)],
  ];
  for (const [what, message, change] of cases) {
    const damaged = join(folder, 'damaged.usearch');
    writeFileSync(damaged, change(Buffer.from(whole)));
    assertRefused(() => checkGraphFile(damaged, ROWS, DIMENSION), damaged, message, what);
  }
});

function set(bytes: Buffer, at: number, length: number, value: number): Buffer {
  bytes.writeUIntLE(value, at, length);
  return bytes;
}

test('what the check lets pass, usearch reads and searches', async () => {
  const whole = readFileSync(path);
  const queries = clustered(20, 'queries');
  const random = new Random(0, 'damage');
  const damaged = join(folder, 'mutated.usearch');
  let passed = 0;
  for (let i = 0; i < 300; i++) {
    const graph = whole.subarray(headAt);
    // Half of the changes hit single links, which mostly still lead somewhere.
    const changed =
      i % 2 === 0
        ? mutate(graph, [graph], random)
        : set(
            Buffer.from(graph),
            104 + 2 * ROWS + random.integer(graph.length - 108 - 2 * ROWS),
            1,
            random.integer(256),
          );
    writeFileSync(damaged, Buffer.concat([whole.subarray(0, headAt), changed]));
    let sha256: string;
    try {
      sha256 = checkGraphFile(damaged, ROWS, DIMENSION);
    } catch (error) {
      assert.ok(error instanceof UserError, `change ${i}: ${error}`);
      continue;
    }
    passed++;
    const search = await ApproximateSearch.open(damaged, sha256, features, DIMENSION);
    await search.topK(queries, 10).catch((error) => assert.ok(error instanceof UserError, String(error)));
  }
  assert.ok(passed > 20 && passed < 280, `${passed} of 300 passed`);
});

test('above 100,000 pictures an index gets a graph by itself', () => {
  assert.equal(wantsGraph('auto', 100_000), false);
  assert.equal(wantsGraph('auto', 100_001), true);
  assert.equal(wantsGraph('exact', 1_000_000), false);
  assert.equal(wantsGraph('approximate', 3), true);
});

test('index, search and their choice from the command line', async () => {
  const photos = join(folder, 'photos');
  const checkpoint = join(folder, 'model');
  const out = join(folder, 'index');
  const graph = join(out, 'graph.usearch');
  mkdirSync(photos);
  for (const name of ['chelsea.jpg', 'rocket.jpg', 'coffee.jpg']) {
    copyFileSync(fixture('images', name), join(photos, name));
  }
  const model = tinyModel(onnx);
  const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '猫'];
  while (vocabulary.length < model.config.vocab_size) vocabulary.push(`[unused${vocabulary.length}]`);
  writeCheckpoint(checkpoint, { config: model.config, weights: model.tensors, vocabulary });
  const makeIndex = async (choice: string) => {
    const settings = ['--model', checkpoint, '--out', out, '--context-length', '12', '--search', choice];
    const { code, stdout, stderr } = await runCli(['index', photos, ...settings]);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const find = (...settings: string[]) => runCli(['search', out, '猫', '--k', '2', ...settings]);

  await makeIndex('auto');
  assert.equal(readIndex(out).manifest.graph, undefined);
  assert.match((await find()).stderr, /^exact search/m);
  const missing = await find('--search', 'approximate');
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /no graph.*--search approximate/);

  assert.match(await makeIndex('approximate'), /approximate search, recall@10 100\.0 %/);
  const { sha256 } = readIndex(out).manifest.graph!;
  const exact = JSON.parse((await find('--search', 'exact', '--json', 'true')).stdout);
  const approximate = JSON.parse((await find('--json', 'true')).stdout);
  assert.equal(exact.search, 'exact');
  assert.equal(approximate.search, 'approximate');
  assert.deepEqual(approximate.results, exact.results);
  assert.match((await find()).stderr, /^approximate search, recall@10 100\.0 %/m);

  // Unchanged features keep their graph; a damaged one is refused, and made again.
  await makeIndex('approximate');
  assert.equal(readIndex(out).manifest.graph!.sha256, sha256);
  writeFileSync(graph, Buffer.alloc(1000, 7));
  const damaged = await find();
  assert.equal(damaged.code, 1);
  assert.match(damaged.stderr, /graph\.usearch: damaged .*make the index again/);
  assert.equal((await find('--search', 'exact')).code, 0);
  await makeIndex('approximate');
  assert.equal((await find()).code, 0);
  rmSync(graph);
  assert.match((await find()).stderr, /graph\.usearch/);
});
