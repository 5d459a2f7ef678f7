import { mkdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.js';
import type { Reporter } from '../io/terminal.js';
import {
  type CachedModel,
  type CachedRepository,
  cachedRepository,
  currentSnapshot,
  findFile,
  huggingFaceWeights,
  linkFile,
  type SourceName,
  setBranch,
  sources,
} from './cache.js';
import { hubEnvironment } from './environment.js';
import { listHuggingFace } from './huggingface.js';
import { type OfficialModel, officialModel, vocabularyRepository } from './models.js';
import { listModelScope } from './modelscope.js';
import { defaultPatience, type Patience } from './request.js';
import type { Listing, SourceOptions } from './source.js';
import { fetchBlob, partialSize, type RemoteFile } from './transfer.js';

export const weightsForms = ['pt', 'huggingface'] as const;

/** What is fetched, and from where, unless it is said. */
export const downloadDefaults = { format: 'pt', source: 'huggingface' } as const;

/** Tells what one should know, and shows no progress. */
const warnings: Reporter = { line: console.warn, begin: () => {}, advance: () => {}, end: () => {} };

export interface DownloadOptions {
  /** weights as the reference released them, or as Hugging Face's transformers reads them */
  format: (typeof weightsForms)[number];
  source: SourceName;
  /** OWNER/NAME in place of the official repository */
  repository?: string;
  /** shows the progress; by default only what one should know is told, by `console.warn` */
  reporter: Reporter;
  /** environment variables: addresses, token, where the cache is */
  env?: NodeJS.ProcessEnv;
  patience?: Patience;
}

const lists = { huggingface: listHuggingFace, modelscope: listModelScope };

/** Files that are fetched, where a repository has them, whatever the form of the weights. */
const companions = ['config.json', 'preprocessor_config.json', 'vocab.txt'];

/**
 * Fetches an official model with its vocabulary into the hub's cache. What is there already is not fetched again, and no
 * connection is made where nothing is missing.
 *
 * @param name of an official model, as ViT-B-16
 * @returns where the weights are, and whether anything had to be done
 * @throws UserError saying what was wrong and what to do; what was received until then is kept for the next call
 */
export async function downloadModel(
  name: string,
  options: Partial<DownloadOptions> = {},
): Promise<CachedModel & { isNew: boolean }> {
  const complete = { ...downloadDefaults, reporter: warnings, patience: defaultPatience, ...options };
  const { format, source, reporter, patience } = complete;
  const model = officialModel(name);
  const environment = hubEnvironment(options.env);
  const repository = options.repository ?? `${sources[source].owner}/${model.repository}`;
  if (!/^\w[\w.-]*\/\w[\w.-]*$/.test(repository)) {
    throw new UserError(`--repository is '${repository}', expected OWNER/NAME`);
  }
  const cached = cachedRepository(environment.cache, source, repository);
  const present = completeModel(cached, model, format);
  if (present !== undefined) return { ...present, isNew: false };
  if (environment.offline) {
    throw new UserError(
      `${name} is not in the cache (${cached.folder}), and HF_HUB_OFFLINE forbids to fetch it: unset it`,
    );
  }

  const sourceOptions: SourceOptions = { ...patience, environment, warn: reporter.line };
  const listing = await lists[source](repository, sourceOptions);
  const [weights, ...shards] = chooseWeights(listing, model, format, reporter);
  const vocabulary = await listingWithVocabulary(listing, source, sourceOptions, reporter);
  const small = companions.filter((file) => file !== 'vocab.txt' && listing.names.includes(file));
  // The file that says that a model is there comes last.
  const files: RemoteFile[] = [await vocabulary.locate('vocab.txt')];
  for (const file of [...small, ...shards, weights]) files.push(await listing.locate(file));

  const snapshot = join(cached.folder, 'snapshots', listing.commit);
  const missing = files.filter(({ name, size }) => fileSize(join(snapshot, name)) !== size);
  requireSpace(cached, missing);
  for (const file of missing) {
    const blob = join(cached.folder, 'blobs', file.checksum);
    if (fileSize(blob) !== file.size) await fetchShown(file, blob, sourceOptions, reporter);
    linkFile(blob, join(snapshot, file.name));
  }
  setBranch(cached, listing.commit);
  return { folder: snapshot, weights: join(snapshot, weights), isNew: missing.length > 0 };
}

/** A model in the cache that lacks nothing of what was asked for. */
function completeModel(
  repository: CachedRepository,
  { releasedFile }: OfficialModel,
  format: DownloadOptions['format'],
): CachedModel | undefined {
  const folder = currentSnapshot(repository);
  if (folder === undefined) return undefined;
  const others = format === 'pt' ? ['vocab.txt'] : ['vocab.txt', 'config.json'];
  const weights = findFile(folder, format === 'pt' ? [releasedFile] : huggingFaceWeights);
  const isComplete = others.every((name) => findFile(folder, [name]) !== undefined);
  return weights !== undefined && isComplete ? { folder, weights } : undefined;
}

/** The weights of a form, or the index of their shards, followed by these. */
function chooseWeights(
  { names, repository }: Listing,
  { releasedFile, name }: OfficialModel,
  format: DownloadOptions['format'],
  reporter: Reporter,
): string[] {
  if (format === 'pt' && names.includes(releasedFile)) return [releasedFile];
  const found = huggingFaceWeights.find((file) => names.includes(file));
  if (found === undefined) {
    const other = names.includes(releasedFile) ? `, only ${releasedFile}: take --format pt` : '';
    throw new UserError(
      `${repository} has none of ${huggingFaceWeights.join(', ')} for ${name}${other || `, nor ${releasedFile}`}`,
    );
  }
  if (format === 'pt') reporter.line(`${repository} has no ${releasedFile}: taking ${found}`);
  if (found !== 'model.safetensors.index.json') return [found];
  return [found, ...names.filter((file) => /^model-\d+-of-\d+\.safetensors$/.test(file))];
}

async function listingWithVocabulary(
  listing: Listing,
  source: SourceName,
  options: SourceOptions,
  reporter: Reporter,
): Promise<Listing> {
  if (listing.names.includes('vocab.txt')) return listing;
  const other = `${sources[source].owner}/${vocabularyRepository}`;
  reporter.line(
    `${listing.repository} has no vocab.txt: taking that of ${other}, which is the same for all models`,
  );
  return lists[source](other, options);
}

/** @throws UserError if the disk has no room for the rest of these files */
function requireSpace({ folder }: CachedRepository, files: readonly RemoteFile[]): void {
  mkdirSync(join(folder, 'blobs'), { recursive: true });
  const { bavail, bsize } = statfsSync(folder);
  const needed = files
    .map(({ size, checksum }) => {
      const blob = join(folder, 'blobs', checksum);
      return fileSize(blob) === size ? 0 : size - Math.min(size, partialSize(blob));
    })
    .reduce((sum, size) => sum + size, 0);
  const free = bavail * bsize;
  if (needed <= free) return;
  throw new UserError(
    `${folder}: ${megabytes(needed)} MB are needed, ${megabytes(free)} MB are free: make room, or name another folder in ` +
      'HF_HUB_CACHE',
  );
}

async function fetchShown(
  file: RemoteFile,
  blob: string,
  options: SourceOptions,
  reporter: Reporter,
): Promise<void> {
  if (file.size < 1e6) {
    await fetchBlob(file, blob, options);
    reporter.line(`${file.name}: ${file.size} bytes`);
    return;
  }
  reporter.begin(`${file.name}, MB`, megabytes(file.size), megabytes(partialSize(blob)));
  try {
    await fetchBlob(file, blob, { ...options, onProgress: (done) => reporter.advance(megabytes(done)) });
  } finally {
    reporter.end();
  }
  reporter.line(`${file.name}: ${megabytes(file.size)} MB`);
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6);
}

/** A file's length, links followed; undefined if there is none. */
function fileSize(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
