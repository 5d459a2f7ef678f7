import { createHash } from 'node:crypto';
import { z } from 'zod';
import { explainIssues } from '../config/explain.js';
import { UserError } from '../errors.js';
import { isChecksum, requireInside, sources } from './cache.js';
import { getJson } from './request.js';
import type { Listing, ListRepository } from './source.js';

const filesSchema = z.object({
  Data: z.object({
    Files: z.array(
      z.object({
        Path: z.string(),
        Type: z.string(),
        Size: z.number().int().nonnegative(),
        Sha256: z.string().optional(),
      }),
    ),
  }),
});

/**
 * The master branch of a repository of ModelScope. Its listing has size and checksum of each file but names no commit of
 * the whole: the listing's own checksum takes that place.
 */
export const listModelScope: ListRepository = async (repository, options): Promise<Listing> => {
  const { branch } = sources.modelscope;
  const base = `${options.environment.modelscopeEndpoint}/api/v1/models/${repository}/repo`;
  const url = `${base}/files?Revision=${branch}&Recursive=true`;
  const answer = filesSchema.safeParse(await getJson({ url }, options));
  if (!answer.success) {
    throw new UserError(`${url}: not what ModelScope answers: ${explainIssues(answer.error)}`);
  }
  const files = answer.data.Data.Files.filter(({ Type }) => Type === 'blob');
  for (const { Path } of files) requireInside(Path, repository);
  const lines = files.map(({ Path, Sha256 }) => `${Sha256} ${Path}\n`).sort();
  return {
    repository,
    commit: createHash('sha1').update(lines.join('')).digest('hex'),
    names: files.map(({ Path }) => Path),
    locate: async (name) => {
      const file = files.find(({ Path }) => Path === name);
      const checksum = file?.Sha256?.toLowerCase() ?? '';
      if (file === undefined || checksum.length !== 64 || !isChecksum(checksum)) {
        throw new UserError(`${base}: the server tells no SHA-256 of ${name}`);
      }
      const query = new URLSearchParams({ Revision: branch, FilePath: name });
      return { name, request: { url: `${base}?${query}` }, size: file.Size, checksum };
    },
  };
};
