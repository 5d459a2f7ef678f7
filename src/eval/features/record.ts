import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../errors.js';
import { writeText } from '../../io/atomic.js';
import { readJson } from '../../io/json.js';
import { featureNames } from './extract.js';

const partSchema = z.object({ rows: z.number().int().positive(), key: z.string() });
const recordSchema = z.object({
  fingerprint: z.string(),
  shard: z.object({ index: z.number().int().min(0), count: z.number().int().positive() }),
  images: partSchema.optional(),
  texts: partSchema.optional(),
});

/** What a folder of features says of itself: what they depend on, and how many there are to be. */
export type ExtractionRecord = z.infer<typeof recordSchema>;

const pathIn = (folder: string) => join(folder, 'extraction.json');

/** The record of a folder, undefined where there is none. @throws UserError where the file is no record */
export function readRecord(folder: string): ExtractionRecord | undefined {
  const path = pathIn(folder);
  if (!existsSync(path)) return undefined;
  const result = recordSchema.safeParse(readJson(path));
  if (result.success) return result.data;
  throw new UserError(`${path}: expected the record of an extraction (fingerprint, shard, images, texts)`);
}

/**
 * Opens a folder for features of a model, or goes on in it.
 *
 * @returns notes what is about to be computed, before it is: see `Extraction.claim`
 * @throws UserError where the folder holds features of another model, or another shard
 */
export function claimFolder(
  folder: string,
  fingerprint: string,
  shard: ExtractionRecord['shard'],
): (kind: keyof typeof featureNames, rows: number, key: string) => void {
  const record = readRecord(folder) ?? { fingerprint, shard };
  const isOther = record.shard.index !== shard.index || record.shard.count !== shard.count;
  if (record.fingerprint !== fingerprint || isOther) {
    throw new UserError(
      `${folder} holds features of another model, vocabulary, context length or shard: name another folder`,
    );
  }
  return (kind, rows, key) => {
    const strange =
      record[kind] === undefined
        ? ['jsonl', 'npy'].some((format) => existsSync(join(folder, `${featureNames[kind]}.${format}`)))
        : record[kind].key !== key;
    if (strange) {
      throw new UserError(
        `${folder} holds features of other ${kind} or another batch size: name another folder`,
      );
    }
    record[kind] = { rows, key };
    mkdirSync(folder, { recursive: true });
    writeText(pathIn(folder), JSON.stringify(record, null, 2));
  };
}
