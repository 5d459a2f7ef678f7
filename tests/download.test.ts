import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cachedModel } from '../src/hub/cache.js';
import { officialModels } from '../src/hub/models.js';
import {
  assertRefused,
  base,
  download,
  env,
  home,
  repositoryFolder,
  said,
  server,
  vocabulary,
  weights,
} from './downloads.js';
import { commitOf, large, sha256, small } from './hubServer.js';
import { runCli } from './runCli.js';

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
