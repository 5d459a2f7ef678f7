import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { UserError } from '../src/errors.js';
import { cachedModel, linkFile, resolveOfficialModel } from '../src/hub/cache.js';
import { type DownloadOptions, downloadModel } from '../src/hub/download.js';
import { hubEnvironment } from '../src/hub/environment.js';
import { officialModels } from '../src/hub/models.js';
import { TransientError, withRetries } from '../src/hub/request.js';
import { Random } from '../src/random.js';
import { commitOf, gitSha1, HubServer, large, sha256, small } from './hubServer.js';
import { runCli } from './runCli.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-download-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const base = 'OFA-Sys/chinese-clip-vit-base-patch16';
const random = new Random('download');
const weights = Buffer.from(Array.from({ length: 400_000 }, () => random.integer(256)));
const vocabulary = '[PAD]\n[UNK]\n的\n';

let server: HubServer;
let home: string;
let env: NodeJS.ProcessEnv;
let said: string[];
let repositoryFolder: string;

beforeEach(async () => {
  server = await HubServer.start();
  server.repositories.set(base, {
    'README.md': small('# Chinese CLIP'),
    'clip_cn_vit-b-16.pt': large(weights),
    'config.json': small('{"model_type": "chinese_clip"}'),
    'model.safetensors': large(Buffer.from('safetensors')),
    'preprocessor_config.json': small('{}'),
    'pytorch_model.bin': large(Buffer.from('bin')),
    'vocab.txt': small(vocabulary),
  });
  home = mkdtempSync(join(folder, 'home-'));
  env = { HF_ENDPOINT: `${server.url}/`, MODELSCOPE_ENDPOINT: server.url, HF_HOME: home };
  said = [];
  repositoryFolder = join(home, 'hub', `models--${base.replace('/', '--')}`);
});
afterEach(() => server.close());

const patience = { retries: 3, retryDelay: 1, stallTimeout: 200 };

/** Tells what it is told as lines. */
const reporter = {
  line: (text: string) => void said.push(text),
  begin: () => {},
  advance: () => {},
  end: () => {},
};

const download = (name = 'ViT-B-16', options: Partial<DownloadOptions> = {}) =>
  downloadModel(name, { format: 'pt', source: 'huggingface', reporter, env, patience, ...options });

/** Asserts that it is refused with a message like this, and that nothing passes for a model afterwards. */
async function assertRefused(result: Promise<unknown>, ...patterns: RegExp[]): Promise<void> {
  await assert.rejects(result, (error) => {
    assert.ok(error instanceof UserError, String(error));
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  });
  assert.equal(cachedModel('ViT-B-16', env), undefined);
}

const blobs = () => readdirSync(join(repositoryFolder, 'blobs'));
const partials = () => blobs().filter((name) => name.endsWith('.incomplete'));

/** A process id that belongs to nobody. */
const endedProcess = () => spawnSync(process.execPath, ['--version']).pid;

test('the cache is laid out as Python’s huggingface_hub does it', async () => {
  const result = await download();
  const snapshot = join(repositoryFolder, 'snapshots', commitOf(base));
  assert.deepEqual(result, {
    folder: snapshot,
    weights: join(snapshot, 'clip_cn_vit-b-16.pt'),
    isNew: true,
  });
  assert.equal(readFileSync(join(repositoryFolder, 'refs', 'main'), 'utf8'), commitOf(base));
  const names = ['clip_cn_vit-b-16.pt', 'config.json', 'preprocessor_config.json', 'vocab.txt'];
  assert.deepEqual(readdirSync(snapshot).sort(), names);
  const files = server.repositories.get(base)!;
  for (const name of names) {
    const { bytes, isLarge } = files[name];
    const checksum = isLarge ? sha256(bytes) : gitSha1(bytes);
    assert.equal(readlinkSync(join(snapshot, name)), join('..', '..', 'blobs', checksum));
    assert.deepEqual(readFileSync(join(snapshot, name)), bytes);
  }
  assert.equal(blobs().length, names.length);
  assert.deepEqual(cachedModel('ViT-B-16', env), { folder: snapshot, weights: result.weights });
});

test('a second call finds the model without a single request', async () => {
  const first = await download();
  server.requests = [];
  assert.deepEqual(await download(), { ...first, isNew: false });
  assert.deepEqual(server.requests, []);
});

test('a cut connection is taken up where it ended, and only the rest is sent again', async () => {
  let cuts = 0;
  server.atStore = (request, response) => {
    if (cuts++ > 0) return false;
    const bytes = server.storedFile(request);
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 150_000), () => setTimeout(() => response.destroy(), 20));
    return true;
  };
  const result = await download();
  assert.deepEqual(readFileSync(result.weights), weights);
  assert.deepEqual(
    server.stored.map(({ range }) => range),
    [undefined, 'bytes=150000-'],
  );
  assert.ok(said.some((line) => /broke .*trying again/.test(line)));
});

test('a connection may break any number of times, as long as it gets further', async () => {
  server.atStore = (request, response) => {
    const bytes = server.storedFile(request);
    const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0);
    const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
    response.writeHead(start === 0 ? 200 : 206, { 'content-range': range });
    response.write(bytes.subarray(start, start + 50_000), () => setTimeout(() => response.destroy(), 5));
    return true;
  };
  assert.deepEqual(readFileSync((await download()).weights), weights);
  assert.equal(server.stored.length, 8);
});

test('what an earlier process left is taken up, and what is there in full is not fetched', async () => {
  const blob = join(repositoryFolder, 'blobs', sha256(weights));
  for (const left of [`${blob}.${endedProcess()}.incomplete`, `${blob}.incomplete`]) {
    rmSync(home, { recursive: true, force: true });
    mkdirSync(join(repositoryFolder, 'blobs'), { recursive: true });
    writeFileSync(left, weights.subarray(0, 300_000));
    // Python does not say which process writes to its file: it counts as left when it rests.
    utimesSync(left, new Date(), new Date(Date.now() - 120_000));
    server.requests = [];
    assert.deepEqual(readFileSync((await download()).weights), weights);
    assert.deepEqual(
      server.stored.map(({ range }) => range),
      ['bytes=300000-'],
    );
    assert.deepEqual(partials(), []);
  }
  rmSync(join(repositoryFolder, 'snapshots'), { recursive: true });
  server.requests = [];
  await download();
  assert.deepEqual(server.stored, []);
});

test('a partial file that is longer than the file, or full, needs no second try', async () => {
  mkdirSync(join(repositoryFolder, 'blobs'), { recursive: true });
  const left = join(repositoryFolder, 'blobs', `${sha256(weights)}.${endedProcess()}.incomplete`);
  writeFileSync(left, Buffer.concat([weights, weights]));
  assert.deepEqual(readFileSync((await download()).weights), weights);
  rmSync(join(repositoryFolder, 'blobs', sha256(weights)));
  writeFileSync(left, weights);
  server.requests = [];
  assert.deepEqual(readFileSync((await download()).weights), weights);
  assert.deepEqual(server.stored, []);
});

test('a server that knows no ranges, refuses one or sends another, is asked for the whole file', async () => {
  const noRanges = (status: number) => {
    let cuts = 0;
    return ((request, response) => {
      const bytes = server.storedFile(request);
      if (cuts++ === 0) {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20));
      } else if (status === 200 || request.headers.range === undefined) response.writeHead(200).end(bytes);
      else response.writeHead(status, { 'content-range': 'bytes 7-399999/400000' }).end(bytes.subarray(7));
      return true;
    }) satisfies HubServer['atStore'];
  };
  for (const status of [200, 416, 206]) {
    rmSync(home, { recursive: true, force: true });
    server.atStore = noRanges(status);
    assert.deepEqual(readFileSync((await download()).weights), weights);
  }
});

test('a server that always cuts before the same byte is given up, and the part is kept', async () => {
  server.atStore = (request, response) => {
    response.writeHead(200).write(server.storedFile(request).subarray(0, 1000), () => {
      setTimeout(() => response.destroy(), 5);
    });
    return true;
  };
  await assertRefused(download(), /tried 4 times/);
  assert.equal(server.stored.length, 4);
  assert.deepEqual(partials(), [`${sha256(weights)}.${process.pid}.incomplete`]);
});

test('wrong bytes are an error, and nothing of them stays', async () => {
  server.atStore = (request, response) => {
    const wrong = Buffer.from(server.storedFile(request));
    wrong[7] ^= 1;
    response.writeHead(200).end(wrong);
    return true;
  };
  await assertRefused(download(), /clip_cn_vit-b-16\.pt: .*checksum/, new RegExp(sha256(weights)), /removed/);
  assert.ok(!blobs().some((name) => name.startsWith(sha256(weights))));
  server.atStore = (request, response) => {
    response.writeHead(200).end(Buffer.concat([server.storedFile(request), weights]));
    return true;
  };
  await assertRefused(download(), /clip_cn_vit-b-16\.pt: .*more than the 400000 bytes/);
  assert.deepEqual(partials(), []);
});

test('a small file is checked against git’s SHA-1', async () => {
  server.atHub = (request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(`resolve-cache/${base}/vocab.txt`)) return false;
    response.end(vocabulary.replace('的', '地'));
    return true;
  };
  await assertRefused(download(), /vocab\.txt: .*checksum/);
});

test('a body that ends early is asked for again, then refused', async () => {
  server.atStore = (request, response) => {
    response.writeHead(200).end(server.storedFile(request).subarray(0, 399_000));
    return true;
  };
  await assertRefused(download(), /clip_cn_vit-b-16\.pt: .*399000 of 400000/);
});

test('a silent server is given up', async () => {
  server.atStore = (_, response) => {
    response.writeHead(200).write('x');
    return true;
  };
  const impatient = { ...patience, retries: 0, stallTimeout: 60 };
  await assertRefused(
    download('ViT-B-16', { patience: impatient }),
    /127\.0\.0\.1:\d+ sent nothing for 0\.06 s/,
  );
});

test('5xx and 429 pass: after a pause it goes on', async () => {
  let failures = 0;
  server.atHub = (_, response) => {
    if (failures === 2) return false;
    response.writeHead([500, 429][failures++]).end();
    return true;
  };
  let refusals = 0;
  // An address of the store that has expired: the hub gives a new one.
  server.atStore = (_, response) => {
    if (refusals++ > 0) return false;
    response.writeHead(403).end();
    return true;
  };
  assert.ok((await download()).isNew);
  assert.equal(said.filter((line) => /answered (500|429|403); trying again/.test(line)).length, 3);
  assert.ok(!said.some((line) => line.includes('secret')), 'a signature was printed');
});

test('Retry-After is heeded', async () => {
  const attempts: number[] = [];
  await withRetries({ ...patience, retryDelay: 5000, warn: () => {} }, async () => {
    attempts.push(performance.now());
    if (attempts.length === 1) throw new TransientError('busy', 30);
  });
  assert.ok(attempts[1] - attempts[0] >= 29 && attempts[1] - attempts[0] < 2000);
});

test('401, 403, 404 and a server that is not there say what to do', async () => {
  for (const status of [401, 403]) {
    server.atHub = (_, response) => {
      response.writeHead(status).end();
      return true;
    };
    await assertRefused(download(), new RegExp(`${base}.*refused \\(${status}\\)`), /set HF_TOKEN/);
    env.HF_TOKEN = 'hf_secret';
    await assertRefused(download(), /the token .* gives no access/);
    delete env.HF_TOKEN;
  }
  server.atHub = () => false;
  await assertRefused(download('ViT-B-16', { repository: 'OFA-Sys/nothing' }), /OFA-Sys\/nothing.*404/);
  assert.equal(server.requests.filter(({ path }) => path.includes('nothing')).length, 1);
  server.close();
  await assertRefused(download(), /127\.0\.0\.1:\d+ can't be reached/, /HF_ENDPOINT/);
});

test('the token goes to the endpoint and to no other host', async () => {
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'token'), 'hf_file\n');
  for (const [variable, expected] of [
    ['hf_variable', 'Bearer hf_variable'],
    ['', 'Bearer hf_file'],
  ]) {
    rmSync(join(home, 'hub'), { recursive: true, force: true });
    server.requests = [];
    env.HF_TOKEN = variable;
    await download();
    const of = (at: string) => server.requests.filter((request) => request.at === at);
    assert.ok(of('hub').length > 0 && of('store').length > 0);
    assert.ok(of('hub').every(({ authorization }) => authorization === expected));
    assert.ok(of('store').every(({ authorization }) => authorization === undefined));
  }
  rmSync(join(home, 'hub'), { recursive: true });
  server.repositories.set('AI-ModelScope/chinese-clip-vit-base-patch16', server.repositories.get(base)!);
  server.requests = [];
  await download('ViT-B-16', { source: 'modelscope' });
  assert.ok(server.requests.every(({ authorization }) => authorization === undefined));
});

test('names that lead out of the snapshot are refused before anything is fetched', async () => {
  for (const name of [
    '../../evil',
    '/etc/evil',
    'a/../../evil',
    'a\\evil',
    'C:evil',
    '',
    'a//b',
    'a/.',
    'a\nb',
  ]) {
    server.repositories.set(base, { ...server.repositories.get(base), [name]: small('evil') });
    await assertRefused(download(), /lists a file/, /nothing was fetched/);
    delete server.repositories.get(base)![name];
  }
  server.atHub = (_, response) => {
    response.end(JSON.stringify({ sha: '../../evil', siblings: [] }));
    return true;
  };
  await assertRefused(download(), /expected a commit/);
  assert.ok(!existsSync(repositoryFolder));
});

test('answers that no hub gives are refused', async () => {
  const answers: [string, RegExp][] = [
    ['<html>', /not JSON/],
    ['{}', /sha/],
    [`"${'x'.repeat(9 << 20)}"`, /longer than any list/],
  ];
  for (const [body, pattern] of answers) {
    server.atHub = (_, response) => {
      response.end(body);
      return true;
    };
    await assertRefused(download(), pattern);
  }
  for (const [headers, pattern] of [
    [{ etag: '"abc"', 'content-length': 5 }, /no checksum/],
    [{ etag: `"${'a'.repeat(40)}"`, 'transfer-encoding': 'chunked' }, /no size/],
  ] as const) {
    server.atHub = (request, response) => {
      if (request.method !== 'HEAD') return false;
      response.writeHead(200, headers).end();
      return true;
    };
    await assertRefused(download(), pattern);
  }
});

test('redirects end, and don’t leave encryption', async () => {
  server.atHub = (_, response) => {
    response.writeHead(302, { location: '/again' }).end();
    return true;
  };
  await assertRefused(download(), /redirects more than 5 times/);
  server.atHub = (_, response) => {
    response.writeHead(302, { location: 'ftp://127.0.0.1/' }).end();
    return true;
  };
  await assertRefused(download(), /not encrypted/);
});

test('a disk without room is noticed before the transfer', async () => {
  server.atHub = (request, response) => {
    if (request.method !== 'HEAD' || !request.url?.endsWith('.pt')) return false;
    response.writeHead(302, {
      location: `${server.url}/elsewhere`,
      'x-linked-etag': sha256(weights),
      'x-linked-size': String(2 ** 52),
    });
    response.end();
    return true;
  };
  await assertRefused(download(), /4503599627 MB are needed, \d+ MB are free/, /HF_HUB_CACHE/);
  assert.deepEqual(server.stored, []);
});

test('a file that a running process fetches is left to it', async () => {
  mkdirSync(join(repositoryFolder, 'blobs'), { recursive: true });
  const partial = join(repositoryFolder, 'blobs', `${sha256(weights)}.${process.ppid}.incomplete`);
  writeFileSync(partial, 'half');
  await assertRefused(download(), new RegExp(`process ${process.ppid} is fetching it`));
  assert.equal(readFileSync(partial, 'utf8'), 'half');
});

test('a repository without vocab.txt takes that of ViT-B-16, and it is said', async () => {
  const name = 'OFA-Sys/chinese-clip-rn50';
  server.repositories.set(name, { 'README.md': small(''), 'clip_cn_rn50.pt': large(weights) });
  const { folder: snapshot } = await download('RN50');
  assert.equal(readFileSync(join(snapshot, 'vocab.txt'), 'utf8'), vocabulary);
  assert.ok(said.some((line) => line.startsWith(`${name} has no vocab.txt: taking that of ${base}`)));
  assert.equal(cachedModel('RN50', env)!.folder, snapshot);
  server.requests = [];
  assert.equal((await download('RN50')).isNew, false);
  assert.deepEqual(server.requests, []);
  const result = download('RN50', { format: 'huggingface' });
  await assertRefused(result, /only clip_cn_rn50\.pt: take --format pt/);
});

test('--format huggingface takes safetensors, their shards, or pytorch_model.bin, with config.json', async () => {
  const files = server.repositories.get(base)!;
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const cases: [string, string[]][] = [
    ['model.safetensors', []],
    ['model.safetensors.index.json', shards],
    ['pytorch_model.bin', []],
  ];
  for (const [name, parts] of cases) {
    rmSync(home, { recursive: true, force: true });
    for (const part of parts) files[part] = large(Buffer.from(part));
    if (parts.length > 0) files[name] = small('{"weight_map": {}}');
    const result = await download('ViT-B-16', { format: 'huggingface' });
    const expected = ['config.json', 'preprocessor_config.json', 'vocab.txt', name, ...parts];
    assert.deepEqual(readdirSync(result.folder).sort(), expected.sort());
    assert.equal(result.weights, join(result.folder, name));
    assert.equal(cachedModel('ViT-B-16', env)!.weights, result.weights);
    for (const used of [name, ...parts]) delete files[used];
  }
});

test('without the released file, what transformers reads is taken, and it is said', async () => {
  delete server.repositories.get(base)!['clip_cn_vit-b-16.pt'];
  assert.match((await download()).weights, /model\.safetensors$/);
  assert.ok(said.some((line) => line.includes('no clip_cn_vit-b-16.pt: taking model.safetensors')));
});

test('ModelScope’s files lie beside, are checked by SHA-256, and are found', async () => {
  const name = 'AI-ModelScope/chinese-clip-vit-base-patch16';
  server.repositories.set(name, server.repositories.get(base)!);
  const result = await download('ViT-B-16', { source: 'modelscope' });
  const own = join(home, 'hub', 'modelscope--AI-ModelScope--chinese-clip-vit-base-patch16');
  assert.ok(result.weights.startsWith(join(own, 'snapshots')));
  assert.deepEqual(readFileSync(result.weights), weights);
  const link = readlinkSync(join(result.folder, 'vocab.txt'));
  assert.equal(link, join('..', '..', 'blobs', sha256(Buffer.from(vocabulary))));
  assert.deepEqual(cachedModel('ViT-B-16', env), { folder: result.folder, weights: result.weights });
  assert.equal((await download('ViT-B-16', { source: 'modelscope' })).isNew, false);
  assert.ok(!existsSync(repositoryFolder));
});

test('--repository names another one', async () => {
  server.repositories.set('me/mine', { ...server.repositories.get(base) });
  const { weights: path } = await download('ViT-B-16', { repository: 'me/mine' });
  assert.ok(path.startsWith(join(home, 'hub', 'models--me--mine')));
  await assertRefused(download('ViT-B-16', { repository: '../..' }), /expected OWNER\/NAME/);
});

test('a model that Python downloaded is found, and completed without fetching its weights', async () => {
  const snapshot = join(repositoryFolder, 'snapshots', commitOf(base));
  const blob = join(repositoryFolder, 'blobs', sha256(weights));
  for (const part of [snapshot, join(repositoryFolder, 'refs'), join(repositoryFolder, 'blobs')]) {
    mkdirSync(part, { recursive: true });
  }
  writeFileSync(blob, weights);
  writeFileSync(join(repositoryFolder, 'refs', 'main'), commitOf(base));
  symlinkSync(join('..', '..', 'blobs', sha256(weights)), join(snapshot, 'clip_cn_vit-b-16.pt'));
  assert.deepEqual(resolveOfficialModel('ViT-B-16', env), {
    folder: snapshot,
    weights: join(snapshot, 'clip_cn_vit-b-16.pt'),
  });
  assert.equal((await download()).isNew, true);
  assert.equal(readFileSync(join(snapshot, 'vocab.txt'), 'utf8'), vocabulary);
  assert.deepEqual(server.stored, []);
  rmSync(blob);
  assert.equal(cachedModel('ViT-B-16', env), undefined, 'a link to nothing is no model');
});

test('where no symbolic links can be made, the snapshot holds the file itself', () => {
  const blob = join(home, 'blobs', 'abc');
  mkdirSync(join(home, 'blobs'));
  writeFileSync(blob, 'bytes');
  const path = join(home, 'snapshots', 'commit', 'file');
  const refuse = () => {
    throw Object.assign(new Error('operation not permitted'), { code: 'EPERM' });
  };
  for (const _ of [1, 2]) linkFile(blob, path, refuse);
  assert.ok(lstatSync(path).isFile());
  assert.equal(readFileSync(path, 'utf8'), 'bytes');
  assert.deepEqual(readdirSync(join(home, 'snapshots', 'commit')), ['file']);
});

test('names count with their case, and an unknown one lists those there are', async () => {
  assert.throws(() => cachedModel('vit-b-16', env), /did you mean ViT-B-16\?.*RN50, ViT-B-16, ViT-L-14,/);
  assert.throws(() => cachedModel('ViT-B-32', env), /no official model 'ViT-B-32': expected one of RN50/);
  assert.throws(
    () => resolveOfficialModel('ViT-B-16', env),
    new UserError(`ViT-B-16 is not in the cache (${join(home, 'hub')}): run \`cn-clip download ViT-B-16\``),
  );
});

test('HF_HUB_OFFLINE forbids requests, but not what is there', async () => {
  await assertRefused(download('ViT-B-16', { env: { ...env, HF_HUB_OFFLINE: '1' } }), /HF_HUB_OFFLINE/);
  assert.deepEqual(server.requests, []);
  await download();
  assert.equal((await download('ViT-B-16', { env: { ...env, HF_HUB_OFFLINE: 'yes' } })).isNew, false);
});

test('the cache is where Python’s variables put it', () => {
  const cacheOf = (variables: NodeJS.ProcessEnv) => hubEnvironment(variables).cache;
  const xdg = { XDG_CACHE_HOME: '/xdg' };
  assert.equal(cacheOf({}), join(homedir(), '.cache', 'huggingface', 'hub'));
  assert.equal(cacheOf(xdg), '/xdg/huggingface/hub');
  assert.equal(cacheOf({ ...xdg, HF_HOME: '/home' }), '/home/hub');
  assert.equal(cacheOf({ ...xdg, HF_HOME: '/home', HF_HUB_CACHE: '~/cache' }), join(homedir(), 'cache'));
  assert.equal(hubEnvironment({ HF_ENDPOINT: '' }).endpoint, 'https://huggingface.co');
  assert.throws(() => hubEnvironment({ HF_ENDPOINT: 'hf-mirror.com' }), /HF_ENDPOINT is 'hf-mirror\.com'/);
});

test('the command fetches, says where, and lists what is there', async () => {
  Object.assign(process.env, env);
  const [listed, unknown] = await Promise.all([runCli(['download']), runCli(['download', 'ViT-B-17'])]);
  assert.equal(listed.code, 0, listed.stderr);
  for (const { name, parameters } of officialModels) {
    assert.match(listed.stdout, new RegExp(`^${name} +${parameters} .*not in the cache`, 'm'));
  }
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /^error: there is no official model 'ViT-B-17'.*\n$/);
  const path = join(repositoryFolder, 'snapshots', commitOf(base), 'clip_cn_vit-b-16.pt');
  const fetched = await runCli(['download', 'ViT-B-16']);
  assert.equal(fetched.code, 0, fetched.stderr);
  assert.ok(fetched.stdout.endsWith(`ViT-B-16: ${path}\n`), fetched.stdout);
  const [again, after] = await Promise.all([runCli(['download', 'ViT-B-16']), runCli(['download'])]);
  assert.equal(again.stdout, `ViT-B-16 is there already: ${path}\n`);
  assert.ok(after.stdout.includes(path), after.stdout);
});

test('Ctrl-C leaves a part that the next call takes up', { timeout: 30_000 }, async () => {
  Object.assign(process.env, env);
  server.atStore = (request, response) => {
    const bytes = server.storedFile(request);
    if (request.headers.range !== undefined) return false;
    response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 200_000));
    return true;
  };
  const { signal } = await runCli(['download', 'ViT-B-16'], (child) => {
    const timer = setInterval(() => {
      const blob = join(repositoryFolder, 'blobs', `${sha256(weights)}.${child.pid}.incomplete`);
      if (existsSync(blob) && lstatSync(blob).size === 200_000) child.kill('SIGINT');
    }, 10);
    child.on('close', () => clearInterval(timer));
  });
  assert.equal(signal, 'SIGINT');
  const { stdout, code, stderr } = await runCli(['download', 'ViT-B-16']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /ViT-B-16: /);
  assert.equal(server.stored.at(-1)!.range, 'bytes=200000-');
});
