import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TransientError, withRetries } from '../src/hub/request.js';
import {
  assertRefused,
  base,
  download,
  env,
  home,
  patience,
  repositoryFolder,
  said,
  server,
  weights,
} from './downloads.js';
import { sha256, small } from './hubServer.js';

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
