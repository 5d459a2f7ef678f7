import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach } from 'node:test';
import { UserError } from '../src/errors.js';
import { cachedModel } from '../src/hub/cache.js';
import { type DownloadOptions, downloadModel } from '../src/hub/download.js';
import { Random } from '../src/random.js';
import { HubServer, large, small } from './hubServer.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-download-'));
after(() => rmSync(folder, { recursive: true, force: true }));

export const base = 'OFA-Sys/chinese-clip-vit-base-patch16';
const random = new Random('download');
export const weights = Buffer.from(Array.from({ length: 400_000 }, () => random.integer(256)));
export const vocabulary = '[PAD]\n[UNK]\n的\n';

/** A hub that has one model, and an empty cache, new for each test of a file that imports them. */
export let server: HubServer;
export let home: string;
export let env: NodeJS.ProcessEnv;
/** what `download` told of */
export let said: string[];
/** of the model in the cache */
export let repositoryFolder: string;

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

export const patience = { retries: 3, retryDelay: 1, stallTimeout: 200 };

/** Tells what it is told as lines. */
const reporter = {
  line: (text: string) => void said.push(text),
  begin: () => {},
  advance: () => {},
  end: () => {},
};

export const download = (name = 'ViT-B-16', options: Partial<DownloadOptions> = {}) =>
  downloadModel(name, { format: 'pt', source: 'huggingface', reporter, env, patience, ...options });

/** Asserts that it is refused with a message like this, and that nothing passes for a model afterwards. */
export async function assertRefused(result: Promise<unknown>, ...patterns: RegExp[]): Promise<void> {
  await assert.rejects(result, (error) => {
    assert.ok(error instanceof UserError, String(error));
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  });
  assert.equal(cachedModel('ViT-B-16', env), undefined);
}

export const blobs = () => readdirSync(join(repositoryFolder, 'blobs'));
export const partials = () => blobs().filter((name) => name.endsWith('.incomplete'));

/** A process id that belongs to nobody. */
export const endedProcess = () => spawnSync(process.execPath, ['--version']).pid;
