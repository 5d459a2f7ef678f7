import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { datasetSources } from '../data/dataset.js';
import { UserError } from '../errors.js';
import { precisions } from '../export/parity.js';
import { writeDirectoryAtomic, writeFileAtomic, writeText } from '../io/atomic.js';
import { readJson } from '../io/json.js';
import { readJsonLines } from '../io/jsonl.js';
import { readNpy, writeNpy } from '../io/npy.js';

/** Files of an index folder. */
export const indexFiles = {
  manifest: 'manifest.json',
  features: 'features.npy',
  pictures: 'pictures.jsonl',
  /** only where the index has approximate search */
  graph: 'graph.usearch',
} as const;

const FORMAT = 'cn-clip picture index 1';

const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  pictures: z.number().int().min(0),
  dimension: z.number().int().positive(),
  /** of weights, config, vocabulary and context length */
  fingerprint: z.string().regex(/^[0-9a-f]{64}$/),
  /** how the model was named, so that a search finds it again */
  model: z.strictObject({
    location: z.string(),
    precision: z.enum(precisions).optional(),
    config: z.string().optional(),
    vocabulary: z.string().optional(),
    contextLength: z.number().int().min(3),
  }),
  /** where the pictures are: a folder, or with a split a dataset */
  source: z.strictObject({
    path: z.string(),
    split: z.string().optional(),
    source: z.enum(datasetSources).optional(),
  }),
  /** the graph of approximate search, where the index has one */
  graph: z
    .strictObject({
      /** of its file */
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      /** share of the ten nearest that approximate search finds, over a sample of the index's own pictures */
      recallAt10: z.number().min(0).max(1),
    })
    .optional(),
});

export type IndexManifest = z.infer<typeof manifestSchema>;
export type IndexSource = IndexManifest['source'];
export type GraphDescription = NonNullable<IndexManifest['graph']>;

/** A picture of an index. */
export interface IndexedPicture {
  /** its path in the folder, or its id in the dataset */
  id: string;
  /** the picture's row in its source */
  row: number;
  /** changes with the picture: size and time of its file, or a hash of its bytes */
  version: string;
}

export interface PictureIndex {
  manifest: Omit<IndexManifest, 'format' | 'pictures'>;
  /** those that could be read */
  pictures: IndexedPicture[];
  /** unit features, [pictures, dimension] */
  features: Float32Array;
}

/** @throws UserError where a folder is no index, or its files are damaged or don't belong together */
export function readIndex(folder: string): PictureIndex {
  const path = join(folder, indexFiles.manifest);
  if (!existsSync(path)) {
    throw new UserError(`${folder} is no index of pictures: make one with cn-clip index`);
  }
  const parsed = manifestSchema.safeParse(readJson(path));
  if (!parsed.success) throw new UserError(`${path}: ${z.prettifyError(parsed.error)}`);
  const { format: _, pictures: count, ...manifest } = parsed.data;
  const features = readNpy(join(folder, indexFiles.features));
  const pictures = readPictures(join(folder, indexFiles.pictures));
  const [rows, dimension] = features.shape;
  if (rows !== count || dimension !== manifest.dimension || pictures.length !== count) {
    throw new UserError(
      `${folder}: ${count} pictures and dimension ${manifest.dimension} are stated, found features ` +
        `[${rows}, ${dimension}] and ${pictures.length} names: make the index again`,
    );
  }
  return { manifest, pictures, features: features.data };
}

/** Pictures as `writePictures` wrote them. @throws UserError with file and line */
export function readPictures(path: string): IndexedPicture[] {
  return Array.from(readJsonLines(path), ({ value: { id, row, version }, where }) => {
    if (typeof id === 'string' && Number.isSafeInteger(row) && typeof version === 'string') {
      return { id, row: row as number, version };
    }
    throw new UserError(`${where}: expected id, row and version of a picture`);
  });
}

export function pictureLine({ id, row, version }: IndexedPicture): string {
  return `${JSON.stringify({ id, row, version })}\n`;
}

/**
 * Writes an index in the place of an earlier one; readers see one or the other.
 *
 * @param graph the file that `manifest.graph` describes; it is moved
 */
export function writeIndex(
  folder: string,
  { manifest, pictures, features }: PictureIndex,
  graph?: string,
): void {
  requireIndexPlace(folder);
  writeDirectoryAtomic(folder, (temporary) => {
    writeNpy(join(temporary, indexFiles.features), features, [pictures.length, manifest.dimension]);
    writeFileAtomic(join(temporary, indexFiles.pictures), (append) => {
      for (const picture of pictures) append(pictureLine(picture));
    });
    if (graph !== undefined) renameSync(graph, join(temporary, indexFiles.graph));
    const content = { format: FORMAT, pictures: pictures.length, ...manifest };
    writeText(join(temporary, indexFiles.manifest), JSON.stringify(content, null, 1));
  });
}

/** @throws UserError where an index would replace a folder of something else */
export function requireIndexPlace(folder: string): void {
  if (!existsSync(folder) || existsSync(join(folder, indexFiles.manifest))) return;
  if (readdirSync(folder).length === 0) return;
  throw new UserError(`${folder} holds other files and is no index: name another folder with --out`);
}
