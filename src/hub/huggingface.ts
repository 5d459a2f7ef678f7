import { z } from 'zod';
import { explainIssues } from '../config/explain.js';
import { UserError } from '../errors.js';
import { isChecksum, requireInside, sources } from './cache.js';
import { exchange, getJson, withRetries } from './request.js';
import type { Listing, ListRepository, SourceOptions } from './source.js';
import type { RemoteFile } from './transfer.js';

const revisionSchema = z.object({
  sha: z.string().refine(isChecksum, 'expected a commit'),
  siblings: z.array(z.object({ rfilename: z.string() })),
});

/** The main branch of a repository of the Hugging Face hub. */
export const listHuggingFace: ListRepository = async (repository, options): Promise<Listing> => {
  const { endpoint, token } = options.environment;
  const url = `${endpoint}/api/models/${repository}/revision/${sources.huggingface.branch}`;
  const answer = revisionSchema.safeParse(await getJson({ url, token }, options));
  if (!answer.success) {
    throw new UserError(`${url}: not what a hub answers: ${explainIssues(answer.error)}`);
  }
  const names = answer.data.siblings.map(({ rfilename }) => rfilename);
  for (const name of names) requireInside(name, repository);
  const commit = answer.data.sha;
  return { repository, commit, names, locate: (name) => locate(repository, commit, name, options) };
};

/**
 * A large file's checksum and size are in headers of the redirect to where it is stored (X-Linked-Etag, SHA-256); the
 * store's own ETag is something else. A small file is at the hub itself, and its ETag is git's SHA-1.
 */
async function locate(
  repository: string,
  commit: string,
  name: string,
  options: SourceOptions,
): Promise<RemoteFile> {
  const { endpoint, token } = options.environment;
  const path = name.split('/').map(encodeURIComponent).join('/');
  const request = { url: `${endpoint}/${repository}/resolve/${commit}/${path}`, token };
  const { origin } = new URL(endpoint);
  // Small files and renamed repositories are redirected to other routes of the hub: these are followed.
  const stopAt = (redirect: Headers, to: URL) =>
    to.origin !== origin || (redirect.has('x-linked-etag') && redirect.has('x-linked-size'));
  const file = await withRetries(options, () =>
    exchange({ ...request, method: 'HEAD', stopAt }, options.stallTimeout, async (response) =>
      describe(response, request.url),
    ),
  );
  return { name, request, ...file };
}

function describe({ ok, headers }: Response, url: string): { checksum: string; size: number } {
  const etag = headers.get('x-linked-etag') ?? (ok ? headers.get('etag') : null);
  const checksum = etag?.replace(/^W\//, '').replaceAll('"', '') ?? '';
  if (!isChecksum(checksum)) {
    throw new UserError(`${url}: the server tells no checksum (ETag: ${etag}): try another HF_ENDPOINT`);
  }
  const length = headers.get('x-linked-size') ?? (ok ? headers.get('content-length') : null);
  const size = Number(length ?? Number.NaN);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new UserError(`${url}: the server tells no size: try another HF_ENDPOINT`);
  }
  return { checksum, size };
}
