import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DatasetSource, openDataset } from '../src/data/dataset.js';
import { validateDataset } from '../src/data/validateDataset.js';
import { UserError } from '../src/errors.js';
import { openOwnPictures } from '../src/eval/classification/dataset.js';
import { temporaryDirectory } from './support.js';

const options = { contextLength: 52, workers: 1, decode: true };
const skip =
  process.platform === 'win32' ? 'Windows has other rights, and links are not for everyone' : false;

/** A dataset's folder that a user without rights can enter. */
function folder(): string {
  const path = temporaryDirectory();
  if (process.getuid?.() === 0) chownSync(path, NOBODY, NOBODY);
  return path;
}

const NOBODY = 65534;

/** Whatever the rights of a file are, root may read it: tests that run as root give that up meanwhile. */
async function asPlainUser(run: () => Promise<void>): Promise<void> {
  if (process.getuid?.() !== 0) return run();
  process.seteuid!(NOBODY);
  try {
    await run();
  } finally {
    process.seteuid!(0);
  }
}

async function refuses(opening: Promise<unknown>, path: string, message: RegExp): Promise<void> {
  await assert.rejects(opening, (error: Error) => {
    assert.ok(error instanceof UserError, error.stack);
    assert.ok(error.message.startsWith(`${path}: `), error.message);
    assert.match(error.message, message);
    return true;
  });
}

const open = (path: string, source: DatasetSource) => openDataset(path, { source, warn: () => {} });

test('a file or folder that may not be read is one error that names it', { skip }, async () => {
  const captions = folder();
  writeFileSync(join(captions, 'a.png'), '');
  writeFileSync(join(captions, 'a.txt'), '猫');
  chmodSync(join(captions, 'a.txt'), 0);
  const closed = folder();
  for (const name of ['train', 'data', 'lmdb']) mkdirSync(join(closed, name));
  for (const name of ['train', 'data', 'lmdb']) chmodSync(join(closed, name), 0);
  await asPlainUser(async () => {
    const caption = join(captions, 'a.txt');
    await refuses(open(captions, 'folder'), caption, /the caption can't be read \(EACCES/);
    const table = join(closed, 'train', 'train.csv');
    await refuses(open(closed, 'folder'), table, /can't be looked at \(EACCES/);
    await refuses(open(closed, 'parquet'), join(closed, 'data'), /folder can't be read \(EACCES/);
    const file = join(closed, 'data', '1.tar');
    await refuses(open(join(closed, 'data', '{1..2}.tar'), 'webdataset'), file, /\(EACCES/);
    const pairs = join(closed, 'lmdb', 'train', 'pairs', 'data.mdb');
    await refuses(open(closed, 'lmdb'), pairs, /can't be looked at \(EACCES/);
    await refuses(validateDataset(closed, options), join(closed, 'lmdb'), /folder can't be read \(EACCES/);
  });
});

test('a link that leads to itself is one error that names it', { skip }, async () => {
  const path = folder();
  const loop = (name: string) => {
    symlinkSync(name, join(path, name));
    return join(path, name);
  };
  const table = loop('captions.csv');
  await refuses(open(path, 'folder'), table, /can't be looked at \(ELOOP/);
  const data = loop('data');
  await refuses(open(path, 'parquet'), data, /can't be looked at \(ELOOP/);
  await refuses(validateDataset(data, options), data, /can't be looked at \(ELOOP/);
  const classes = folder();
  mkdirSync(join(classes, '猫'));
  const picture = join(classes, '猫', 'a.png');
  symlinkSync('a.png', picture);
  await refuses((async () => openOwnPictures(classes, undefined))(), picture, /can't be looked at \(ELOOP/);
});
