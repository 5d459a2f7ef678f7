import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  assertRefused,
  base,
  blobs,
  download,
  endedProcess,
  env,
  home,
  partials,
  patience,
  repositoryFolder,
  said,
  server,
  vocabulary,
  weights,
} from './downloads.js';
import { type HubServer, sha256 } from './hubServer.js';
import { runCli } from './runCli.js';

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

test('a file that a running process fetches is left to it', async () => {
  mkdirSync(join(repositoryFolder, 'blobs'), { recursive: true });
  const partial = join(repositoryFolder, 'blobs', `${sha256(weights)}.${process.ppid}.incomplete`);
  writeFileSync(partial, 'half');
  await assertRefused(download(), new RegExp(`process ${process.ppid} is fetching it`));
  assert.equal(readFileSync(partial, 'utf8'), 'half');
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
