import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { writeCheckpoint } from '../src/checkpoint/directory.js';
import { Search } from '../src/eval/ranking.js';
import { Embedder } from '../src/search/embedder.js';
import { openPictures } from '../src/search/indexSource.js';
import { type PictureIndex, readIndex } from '../src/search/pictureIndex.js';
import { similarities } from '../src/search/similarity.js';
import { createApp } from '../src/serve/app.js';
import { Batcher } from '../src/serve/batcher.js';
import { type RunningServer, startServer } from '../src/serve/server.js';
import { SearchService } from '../src/serve/service.js';
import { Tokenizer } from '../src/text/tokenizer.js';
import { runCli } from './runCli.js';
import { fixture, maxDifference, onnx, temporaryDirectory, tinyModel } from './support.js';

const folder = temporaryDirectory();
const photos = join(folder, 'photos');
const checkpoint = join(folder, 'model');
const out = join(folder, 'index');
const model = tinyModel(onnx);
const pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '一', '只', '猫', '火', '箭', '咖', '啡'];
const vocabulary = [
  ...pieces,
  ...Array.from({ length: model.config.vocab_size - pieces.length }, (_, i) => `[unused${i}]`),
];
const embedder = new Embedder(model, new Tokenizer(vocabulary), 12);
const limits = { host: '127.0.0.1', maxQueue: 8, maxBodyBytes: 400_000, maxTexts: 4, maxTextLength: 20 };
let server: RunningServer;
let search: Search;
let index: PictureIndex;

const makeIndex = (...flags: string[]) =>
  runCli(['index', photos, '--model', checkpoint, '--out', out, '--context-length', '12', ...flags]);

before(async () => {
  mkdirSync(join(photos, 'deep', 'er'), { recursive: true });
  copyFileSync(fixture('images', 'chelsea.jpg'), join(photos, 'chelsea.jpg'));
  copyFileSync(fixture('images', 'rocket.jpg'), join(photos, 'deep', 'rocket.jpg'));
  copyFileSync(fixture('images', 'coffee.jpg'), join(photos, 'deep', 'er', 'coffee.jpg'));
  writeFileSync(join(photos, 'broken.jpg'), 'no picture');
  writeCheckpoint(checkpoint, { config: model.config, weights: model.tensors, vocabulary });
  const { code, stdout, stderr } = await makeIndex();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /left out: .*broken\.jpg/);
  assert.match(stdout, /3 pictures \(3 encoded, 0 kept, 1 broken\)/);
  index = readIndex(out);
  const pictures = await openPictures(index.manifest.source, index.pictures);
  search = await Search.open(index.features, embedder.dimension);
  const service = new SearchService(index, search, embedder, pictures, { maxBatch: 4, maxPixels: 300_000 });
  server = await startServer(createApp(service, limits), '127.0.0.1', 0);
});
after(async () => {
  await server.close();
  await search.dispose();
});

const get = (path: string) => fetch(new URL(path, server.url));
const post = (path: string, body: string | Uint8Array<ArrayBuffer>, type: string) =>
  fetch(new URL(path, server.url), { method: 'POST', body, headers: { 'Content-Type': type } });

/** A picture of the fixtures that is below the service's limit of pixels. */
const small = async () =>
  new Uint8Array(
    await (await import('sharp')).default(fixture('images', 'coffee.jpg')).resize(60, 40).png().toBuffer(),
  );

test('an index holds the unit features of the pictures in order of their paths', async () => {
  const names = ['chelsea.jpg', 'deep/er/coffee.jpg', 'deep/rocket.jpg'];
  assert.deepEqual(
    index.pictures.map(({ id }) => id),
    names,
  );
  const pixels = await Promise.all(names.map((name) => embedder.pixels(join(photos, name))));
  assert.ok(maxDifference(index.features, await embedder.pictures(pixels)) < 1e-6);
});

test('an index is brought up to date: only what is new or changed is encoded, what is gone leaves', async () => {
  const other = join(folder, 'other');
  const update = () =>
    runCli(['index', photos, '--model', checkpoint, '--out', other, '--context-length', '12']);
  assert.equal((await update()).code, 0);
  copyFileSync(fixture('images', 'chelsea.webp'), join(photos, 'a.webp'));
  utimesSync(join(photos, 'chelsea.jpg'), 1, 1);
  const second = await update();
  assert.match(second.stdout, /4 pictures \(2 encoded, 2 kept, 1 broken\)/);
  rmSync(join(photos, 'a.webp'));
  assert.match((await update()).stdout, /3 pictures \(0 encoded, 3 kept, 1 broken\)/);
  assert.ok(!existsSync(`${other}.partial`));
});

test('an index does not replace a folder of something else', async () => {
  const { code, stderr } = await runCli(['index', photos, '--model', checkpoint, '--out', photos]);
  assert.equal(code, 1);
  assert.match(stderr, /other files/);
});

test('a picture finds itself first, as a table, as JSON and on a page', async () => {
  const query = join(photos, 'deep', 'rocket.jpg');
  const html = join(folder, 'found.html');
  const { code, stdout, stderr } = await runCli(['search', out, query, '--json', 'true', '--html', html]);
  assert.equal(code, 0, stderr);
  const { results } = JSON.parse(stdout) as { results: { id: string; cosine: number }[] };
  assert.equal(results.length, 3);
  assert.equal(results[0].id, 'deep/rocket.jpg');
  assert.ok(Math.abs(results[0].cosine - 1) < 1e-5);
  assert.ok(existsSync(html));
  const table = await runCli(['search', out, '一只猫', '--k', '2']);
  assert.equal(table.stdout.trim().split('\n').length, 3, table.stderr);
});

test('similarity is softmax(exp(logit_scale) · cosine), and one text is said to mean nothing', async () => {
  const picture = join(photos, 'chelsea.jpg');
  const run = ['similarity', picture, '一只猫', '火箭', '--model', checkpoint, '--json', 'true'];
  const { stdout, stderr } = await runCli(run);
  const [{ texts }] = JSON.parse(stdout || stderr) as { texts: { cosine: number; probability: number }[] }[];
  const scale = Math.exp(model.weights.get('logit_scale')!.read()[0]);
  const [a, b] = texts.map(({ cosine }) => Math.exp(scale * cosine));
  assert.ok(Math.abs(texts[0].probability - a / (a + b)) < 1e-5);
  const one = await runCli(['similarity', picture, '猫', '--model', checkpoint]);
  assert.match(one.stderr, /one text/);
  assert.match(one.stdout, /100\.00 %/);
});

test('probabilities do not overflow', () => {
  const unit = Float32Array.of(1, 0);
  const { probabilities } = similarities(unit, Float32Array.of(1, 0, -1, 0), 2, Math.log(100));
  assert.deepEqual([...probabilities].map(Math.round), [1, 0]);
});

test('texts and pictures are embedded as the model does it', async () => {
  const answer = await post(
    '/embed/texts',
    JSON.stringify({ texts: ['一只猫', '火箭'] }),
    'application/json',
  );
  const { features } = (await answer.json()) as { features: number[][] };
  assert.ok(maxDifference(features.flat(), await embedder.texts(['一只猫', '火箭'])) < 1e-6);
  const png = await small();
  const base64 = Buffer.from(png).toString('base64');
  const one = await (await post('/embed/images', png, 'image/png')).json();
  const two = (await (
    await post('/embed/images', JSON.stringify({ images: [base64, base64] }), 'application/json')
  ).json()) as { features: number[][] };
  assert.deepEqual((one as { features: number[][] }).features[0].length, embedder.dimension);
  assert.equal(two.features.length, 2);
});

test('pictures are found by text and by picture, and shown', async () => {
  const found = (await (await get(`/search?q=${encodeURIComponent('猫')}&k=2`)).json()) as { results: [] };
  assert.equal(found.results.length, 2);
  const answer = await post('/search', await small(), 'image/png');
  const { results } = (await answer.json()) as { results: { picture: number; name: string }[] };
  assert.equal(results.length, 3);
  const shown = await get(`/images/${results[0].picture}`);
  assert.equal(shown.headers.get('content-type'), 'image/jpeg');
  assert.deepEqual([...new Uint8Array(await shown.arrayBuffer()).slice(0, 3)], [0xff, 0xd8, 0xff]);
});

test('the page needs nothing from elsewhere, and its policy allows nothing else', async () => {
  const page = await get('/');
  assert.match(page.headers.get('content-security-policy')!, /default-src 'none'; script-src 'self'/);
  assert.doesNotMatch(await page.text(), /https?:\/\//);
  assert.equal((await get('/client.js')).status, 200);
  const { paths } = (await (await get('/openapi.json')).json()) as { paths: object };
  assert.ok('/search' in paths);
});

const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
const withoutChromium = chromium === undefined ? 'there is no Chromium on this machine' : false;

test('the page shows what it finds, in both languages', { skip: withoutChromium }, async () => {
  for (const [language, title] of [
    ['zh', '以文搜图'],
    ['en', 'Picture search'],
  ]) {
    const { stdout } = await promisify(execFile)(chromium!, [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=8000', '--dump-dom'],
      `--user-data-dir=${join(folder, 'chromium')}`,
      new URL(`/?lang=${language}&q=${encodeURIComponent('一只猫')}`, server.url).href,
    ]);
    assert.match(stdout, new RegExp(`<h1[^>]*>${title}</h1>`));
    assert.equal(stdout.match(/<img src="\/images\/\d"/g)?.length, 3);
    assert.match(stdout, /deep\/rocket\.jpg/);
  }
});

test('what is malformed, too large or outside is refused with 4xx', async () => {
  const json = 'application/json';
  const large = await (await import('sharp'))
    .default(fixture('images', 'coffee.jpg'))
    .resize(800, 600)
    .jpeg()
    .toBuffer();
  const answers: [number, () => Promise<Response>][] = [
    [400, () => get('/search')],
    [400, () => get('/search?q=')],
    [400, () => get(`/search?q=${'猫'.repeat(21)}`)],
    [400, () => get('/search?q=a&k=0')],
    [400, () => get('/search?q=a&k=1e9')],
    [400, () => post('/embed/texts', '{', json)],
    [400, () => post('/embed/texts', '[]', json)],
    [400, () => post('/embed/texts', JSON.stringify({ texts: [] }), json)],
    [400, () => post('/embed/texts', JSON.stringify({ texts: ['a', 'b', 'c', 'd', 'e'] }), json)],
    [400, () => post('/embed/texts', JSON.stringify({ texts: [7] }), json)],
    [415, () => post('/embed/texts', JSON.stringify({ texts: ['a'] }), 'text/plain')],
    [413, () => post('/embed/texts', 'x'.repeat(400_001), json)],
    [422, () => post('/search', 'no picture', 'image/png')],
    [422, () => post('/search', new Uint8Array(large), 'image/jpeg')],
    [413, () => post('/search', new Uint8Array(400_001), 'image/png')],
    [415, () => post('/search', 'x', 'text/html')],
    [404, () => get('/images/3')],
    [400, () => get('/images/-1')],
    [400, () => get('/images/chelsea.jpg')],
    [400, () => get('/images/..%2f..%2fetc%2fpasswd')],
    [404, () => get('/nothing')],
  ];
  for (const [i, [status, answer]] of answers.entries()) {
    assert.equal((await answer()).status, status, `request ${i}`);
  }
});

/** A request whose path is sent as it is, where fetch would normalise it. */
function raw(path: string, headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    const sent = request({ hostname, port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    sent.on('error', reject);
    sent.end();
  });
}

test('paths that climb are refused, and names of other machines', async () => {
  for (const path of [
    '/../../etc/passwd',
    '/images/../../../etc/passwd',
    '/images/%2e%2e/%2e%2e/package.json',
  ]) {
    const status = await raw(path);
    assert.ok(status === 404 || status === 400, `${path}: ${status}`);
  }
  assert.equal(await raw('/', { Host: 'elsewhere.example' }), 403);
});

test('more requests than the queue takes are answered 503, with the time to try again', async () => {
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  class SlowEmbedder extends Embedder {
    override async texts(texts: readonly string[]): Promise<Float32Array> {
      await gate;
      return super.texts(texts);
    }
  }
  const slow = new SlowEmbedder(model, new Tokenizer(vocabulary), 12);
  const pictures = await openPictures(index.manifest.source, index.pictures);
  const app = createApp(
    new SearchService(index, search, slow, pictures, { maxBatch: 4, maxPixels: 1 }),
    limits,
  );
  const waiting = Array.from({ length: limits.maxQueue }, () => app.request('/search?q=a'));
  const refused = await app.request('/search?q=a');
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get('retry-after'), '1');
  release();
  for (const { status } of await Promise.all(waiting)) assert.equal(status, 200);
  assert.equal((await app.request('/search?q=a')).status, 200);
});

test('items that come together run together, one batch at a time', async () => {
  const sizes: number[] = [];
  let running = 0;
  const batcher = new Batcher<number, number>(3, async (items) => {
    assert.equal(++running, 1);
    sizes.push(items.length);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running--;
    if (items.includes(9)) throw new Error('nine');
    return items.map((item) => 2 * item);
  });
  const results = await Promise.all([1, 2, 3, 4].map((item) => batcher.add(item)));
  assert.deepEqual(results, [2, 4, 6, 8]);
  assert.deepEqual(sizes, [3, 1]);
  await assert.rejects(batcher.add(9), /nine/);
  assert.equal(await batcher.add(5), 10);
});

test('the service ends in order on SIGTERM', async () => {
  const { code, stdout, stderr } = await runCli(['serve', out, '--port', '0'], (child) => {
    child.stdout!.on('data', (text: Buffer) => {
      if (String(text).includes('serves 3 pictures')) child.kill('SIGTERM');
    });
  });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /SIGTERM: finishing/);
});
