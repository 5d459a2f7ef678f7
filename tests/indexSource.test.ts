import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Reporter } from '../src/io/terminal.js';
import { buildIndex } from '../src/search/buildIndex.js';
import { readIndex } from '../src/search/pictureIndex.js';
import { fixture, onnx, temporaryDirectory, tinyModel } from './support.js';

const skip = process.platform === 'win32' ? 'links are not for everyone' : false;

test('links that lead to themselves or nowhere are named, counted and left out', { skip }, async () => {
  const folder = temporaryDirectory();
  const photos = join(folder, 'photos');
  mkdirSync(photos);
  copyFileSync(fixture('images', 'coffee.jpg'), join(photos, 'coffee.jpg'));
  symlinkSync('coffee.jpg', join(photos, 'link.jpg'));
  symlinkSync('loop.jpg', join(photos, 'loop.jpg'));
  symlinkSync('gone.jpg', join(photos, 'nowhere.jpg'));
  symlinkSync('.', join(photos, 'folder'));
  const lines: string[] = [];
  const reporter: Reporter = { line: (line) => lines.push(line), begin() {}, advance() {}, end() {} };
  const model = tinyModel(onnx);
  const out = join(folder, 'index');
  const build = () =>
    buildIndex(out, {
      model,
      manifest: {
        dimension: model.config.embed_dim,
        fingerprint: 'a'.repeat(64),
        model: { location: 'tiny', contextLength: 12 },
        source: { path: photos },
      },
      batchSize: 2,
      workers: 1,
      search: 'exact',
      stopped: () => false,
      reporter,
    });
  const { pictures, encoded, broken } = await build();
  assert.deepEqual({ pictures, encoded, broken }, { pictures: 2, encoded: 2, broken: 2 });
  assert.deepEqual(
    readIndex(out).pictures.map(({ id }) => id),
    ['coffee.jpg', 'link.jpg'],
  );
  assert.equal(lines.length, 2);
  assert.match(lines[0], /^left out: .*photos: picture "loop\.jpg" can't be found \(ELOOP/);
  assert.match(lines[1], /^left out: .*photos: picture "nowhere\.jpg" can't be found \(ENOENT/);
  assert.equal((await build()).kept, 2);
});
