import { closeSync, existsSync, mkdirSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../errors.js';
import { type Append, writeFileAtomic } from '../../io/atomic.js';
import { readNpy, writeNpy } from '../../io/npy.js';
import { idsPath } from '../files.js';
import { featureNames } from './extract.js';
import { readRecord } from './record.js';

const CHUNK_BYTES = 1 << 20;

/**
 * Joins the features of all shards into the files that one process would have written.
 *
 * @param folders one for each shard, in any order
 * @returns the files that were written
 * @throws UserError where a shard is missing or there twice, one is not finished, or they come from several models
 */
export function mergeFeatures(folders: readonly string[], out: string): string[] {
  const parts = folders.map((folder) => {
    const record = readRecord(folder);
    if (record === undefined)
      throw new UserError(`${folder} has no extraction.json: not a folder of features`);
    return { folder, record };
  });
  parts.sort((a, b) => a.record.shard.index - b.record.shard.index);
  const [{ folder: first, record }] = parts;
  for (const [i, part] of parts.entries()) {
    const { fingerprint, shard } = part.record;
    if (fingerprint !== record.fingerprint) {
      throw new UserError(`${first} and ${part.folder} come from different models or settings`);
    }
    if (shard.count !== parts.length || shard.index !== i) {
      throw new UserError(
        `${part.folder} is shard ${shard.index}/${shard.count}, expected ${i}/${parts.length}: name every shard once`,
      );
    }
  }
  mkdirSync(out, { recursive: true });
  const written: string[] = [];
  for (const name of Object.values(featureNames)) {
    for (const file of [`${name}.jsonl`, `${name}.npy`]) {
      const paths = parts.map(({ folder }) => join(folder, file));
      const missing = paths.filter((path) => !existsSync(path));
      if (missing.length === paths.length) continue;
      const unfinished = parts.find(({ folder }) => existsSync(join(folder, `${name}.partial`)));
      if (unfinished !== undefined) throw new UserError(`${unfinished.folder} is not finished: run it again`);
      if (missing.length > 0) throw new UserError(`${missing[0]} is missing, other shards have it`);
      const target = join(out, file);
      if (existsSync(target)) throw new UserError(`${target} exists already: name another folder`);
      if (file.endsWith('.npy')) joinMatrices(paths, target);
      else joinFiles(paths, target);
      written.push(target);
    }
  }
  return written;
}

function joinMatrices(paths: readonly string[], target: string): void {
  const matrices = paths.map((path) => ({ path, ...readNpy(path) }));
  const width = matrices[0].shape[1];
  const other = matrices.find(({ shape }) => shape[1] !== width);
  if (other !== undefined) throw new UserError(`${other.path} has ${other.shape[1]} columns, not ${width}`);
  const rows = matrices.reduce((sum, { shape }) => sum + shape[0], 0);
  const joined = new Float32Array(rows * width);
  let done = 0;
  for (const { data } of matrices) {
    joined.set(data, done);
    done += data.length;
  }
  joinFiles(paths.map(idsPath), idsPath(target));
  writeNpy(target, joined, [rows, width]);
}

function joinFiles(paths: readonly string[], target: string): void {
  writeFileAtomic(target, (append) => {
    for (const path of paths) copyInto(append, path);
  });
}

function copyInto(append: Append, path: string): void {
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (let n = readSync(file, chunk); n > 0; n = readSync(file, chunk)) append(chunk.subarray(0, n));
  } finally {
    closeSync(file);
  }
}
