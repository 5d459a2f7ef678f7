import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { UserError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic.js';
import { hubEnvironment } from './environment.js';
import { type OfficialModel, officialModel } from './models.js';

/**
 * A repository's folder in the cache, laid out as Python's huggingface_hub does: `blobs/CHECKSUM` holds a file's
 * bytes, `snapshots/COMMIT/NAME` points to it, `refs/BRANCH` names the commit of a branch. Repositories of ModelScope
 * lie beside those of Hugging Face, under another prefix.
 */
export interface CachedRepository {
  folder: string;
  branch: string;
}

/** A model in the cache. */
export interface CachedModel {
  /** the snapshot: weights, vocab.txt and what else was fetched */
  folder: string;
  /** path of the released .pt, else of model.safetensors, its index, or pytorch_model.bin */
  weights: string;
}

/** The places that models are fetched from: who owns the official ones, and how their cache is called. */
export const sources = {
  huggingface: { owner: 'OFA-Sys', prefix: 'models', branch: 'main' },
  modelscope: { owner: 'AI-ModelScope', prefix: 'modelscope', branch: 'master' },
} as const;

export type SourceName = keyof typeof sources;

export const sourceNames = Object.keys(sources) as SourceName[];

/** @param repository OWNER/NAME */
export function cachedRepository(cache: string, source: SourceName, repository: string): CachedRepository {
  const { prefix, branch } = sources[source];
  return { folder: join(cache, [prefix, ...repository.split('/')].join('--')), branch };
}

/** Weights in the order of preference. */
export function weightsNames(model: OfficialModel): string[] {
  return [model.releasedFile, ...huggingFaceWeights];
}

export const huggingFaceWeights = ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin'];

/**
 * An official model in the cache, whether `cn-clip download` or Python put it there; undefined if it is not.
 *
 * @param env environment variables, which say where the cache is
 * @throws UserError if there is no model of that name
 */
export function cachedModel(name: string, env: NodeJS.ProcessEnv = process.env): CachedModel | undefined {
  const model = officialModel(name);
  const { cache } = hubEnvironment(env);
  for (const source of sourceNames) {
    const repository = cachedRepository(cache, source, `${sources[source].owner}/${model.repository}`);
    const folder = currentSnapshot(repository);
    const found = folder && findFile(folder, weightsNames(model));
    if (folder && found) return { folder, weights: found };
  }
  return undefined;
}

/** As `cachedModel`. @throws UserError also if the model is not in the cache, saying how to get it */
export function resolveOfficialModel(name: string, env: NodeJS.ProcessEnv = process.env): CachedModel {
  const found = cachedModel(name, env);
  if (found !== undefined) return found;
  throw new UserError(
    `${name} is not in the cache (${hubEnvironment(env).cache}): run \`cn-clip download ${name}\``,
  );
}

/** The first of these files that a snapshot has. */
export function findFile(snapshot: string, names: readonly string[]): string | undefined {
  return names.map((name) => join(snapshot, name)).find((path) => existsSync(path));
}

/** The snapshot that the branch stands at. */
export function currentSnapshot({ folder, branch }: CachedRepository): string | undefined {
  let commit: string;
  try {
    commit = readFileSync(join(folder, 'refs', branch), 'utf8').trim();
  } catch {
    return undefined;
  }
  return isChecksum(commit) ? join(folder, 'snapshots', commit) : undefined;
}

/** Lets the branch stand at a commit. */
export function setBranch({ folder, branch }: CachedRepository, commit: string): void {
  mkdirSync(join(folder, 'refs'), { recursive: true });
  writeFileAtomic(join(folder, 'refs', branch), (append) => append(commit));
}

/** Whether a server's word is a SHA-1 or SHA-256, and so also safe as a file name. */
export function isChecksum(text: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/** @throws UserError if a name that a server gave would lead out of the snapshot */
export function requireInside(name: string, repository: string): void {
  const parts = name.split('/');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\\:\u0000-\u001f]/.test(name) || parts.some((part) => ['', '.', '..'].includes(part))) {
    throw new UserError(
      `${repository} lists a file ${JSON.stringify(name)}, which can't be put into a folder: nothing was fetched`,
    );
  }
}

/**
 * Makes a snapshot's file point to a blob, by a relative link. Where the system makes no symbolic links (Windows without
 * its developer mode) it is a hard link, or a copy.
 */
export function linkFile(blob: string, path: string, symlink: typeof symlinkSync = symlinkSync): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  rmSync(temporary, { force: true });
  try {
    symlink(relative(dirname(path), blob), temporary);
  } catch {
    try {
      linkSync(blob, temporary);
    } catch {
      copyFileSync(blob, temporary);
    }
  }
  renameSync(temporary, path);
  // Renaming a hard link onto another of the same file does nothing, and leaves both.
  rmSync(temporary, { force: true });
}
