import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { UserError } from '../src/errors.js';
import { cachedModel, linkFile, resolveOfficialModel } from '../src/hub/cache.js';
import { hubEnvironment } from '../src/hub/environment.js';
import {
  assertRefused,
  base,
  blobs,
  download,
  env,
  home,
  repositoryFolder,
  server,
  vocabulary,
  weights,
} from './downloads.js';
import { commitOf, gitSha1, sha256 } from './hubServer.js';

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
