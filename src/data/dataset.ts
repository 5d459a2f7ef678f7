import { UserError } from '../errors.js';
import { hasFolderSplit, openFolderDataset } from './folderDataset.js';
import type { KeyTable } from './keyTable.js';
import { hasLmdbSplit, openLmdbDataset } from './lmdbDataset.js';
import { hasParquetSplit, openParquetDataset } from './parquetDataset.js';
import type { WeightedPart } from './sampler.js';
import { ShardDataset } from './shardDataset.js';
import { hasTsvSplit, openTsvDataset } from './tsvDataset.js';
import { hasWebDatasetSplit, openWebDataset } from './webDataset.js';

/** An id as the annotation holds it; predictions are written in the same form. */
export type Id = number | string;

/** A text and the images that it describes. */
export interface TextRecord {
  textId: Id;
  text: string;
  /** empty where unknown */
  imageIds: Id[];
}

/** A positive pair without its picture: an image's row, and a text that describes it. */
export interface Caption {
  imageRow: number;
  imageId: Id;
  textId: Id;
  text: string;
}

/** A positive pair: an encoded picture (JPEG, PNG, …) and a text that describes it. */
export interface Pair {
  imageId: Id;
  textId: Id;
  text: string;
  image: Buffer;
}

/** A picture, still encoded. `name` says where it stands and its id, for error messages. */
export interface StoredImage {
  bytes: Buffer;
  name: string;
}

/**
 * Where the pictures of a dataset are: plain data, which a worker thread is started with. Tables of a length that
 * grows with the dataset lie in shared memory, so that threads need no copy. `openImages` reads from it.
 */
export type ImageSource =
  | { kind: 'tsv'; path: string; starts: Float64Array }
  | { kind: 'lmdb'; path: string; positions: Float64Array; lengths: Uint32Array; ids: KeyTable }
  | { kind: 'files'; root: string; names: KeyTable }
  | {
      kind: 'tar';
      paths: string[];
      rowStarts: Int32Array;
      offsets: Float64Array;
      sizes: Float64Array;
      keys: KeyTable;
    }
  | { kind: 'parquet'; paths: string[]; rowStarts: Int32Array; column: string }
  | { kind: 'mixed'; parts: ImageSource[]; rowStarts: Int32Array };

/** Reads encoded pictures by their row. Each thread opens its own. */
export interface ImageReader {
  /** @throws UserError naming file and place where the picture can't be read */
  read(row: number): StoredImage | Promise<StoredImage>;
  close(): void;
}

/**
 * A split of a dataset: images, texts, and the pairs of them. All is read from disk when asked for. Images, texts and
 * pairs are counted from 0 in the order of their source; the number of an image or a text is its row, that of a pair
 * its position.
 */
export interface Dataset {
  /** what messages call it */
  readonly location: string;
  /** pairCount */
  readonly length: number;
  readonly pairCount: number;
  readonly imageCount: number;
  readonly textCount: number;
  /** Texts without images: they are no pairs, and take part in evaluation only. */
  readonly unpairedTextCount: number;
  /** image row of each pair */
  readonly pairImageRows: Int32Array;
  /** text row of each pair */
  readonly pairTextRows: Int32Array;
  readonly imageSource: ImageSource;
  /**
   * Positions at which groups of pairs begin whose pictures lie together and are read fast one after the other
   * (shards of a tar, row groups of Parquet); undefined where any order is as fast.
   */
  readonly groups?: Int32Array;
  /** pairs among which the next is drawn where there are groups; see datasetOrder */
  readonly shuffleBuffer?: number;
  /** of a mixture: what each part has, and how much of it an epoch visits */
  readonly parts?: readonly WeightedPart[];
  /** The pair at a position in [0, pairCount), without its picture. */
  caption(position: number): Caption;
  /** The pair at a position in [0, pairCount). */
  pair(position: number): Promise<Pair>;
  /** The id of an image, in the form (number or string) in which the texts write image ids. */
  imageId(row: number): Id;
  /** The picture of a row in [0, imageCount). */
  image(row: number): StoredImage | Promise<StoredImage>;
  /** All texts in order of their rows, those without images included. */
  texts(): Generator<TextRecord>;
  close(): void;
}

export interface OpenDatasetOptions {
  /** 'train' by default */
  split: string;
  /** by default told from the files that are there */
  source: DatasetSource | undefined;
  /** what captions and pictures are called in tables, Parquet files and JSON members, if not by a usual name */
  columns: { image?: string; text?: string };
  /** pairs among which the next is drawn, where a source is read shard by shard; 1000 by default */
  shuffleBuffer: number | undefined;
  /** for one of several processes: of `count` parts of the dataset the one at `index` alone, counted from 0 */
  shard: { index: number; count: number } | undefined;
  /** told what one should know, such as an index that can't be kept; console.warn by default */
  warn: (message: string) => void;
}

/** How a dataset can be stored. Where several fit, the first is taken. */
export const datasetSources = ['tsv', 'lmdb', 'webdataset', 'parquet', 'folder'] as const;
export type DatasetSource = (typeof datasetSources)[number];

interface SourceForm {
  /** Whether the split seems to be stored in this form at `path`, or a part of it. Never throws. */
  isAt(path: string, split: string): boolean;
  open(path: string, options: OpenDatasetOptions): Promise<Dataset>;
}

const forms: Record<DatasetSource, SourceForm> = {
  tsv: { isAt: hasTsvSplit, open: openTsvDataset },
  lmdb: { isAt: hasLmdbSplit, open: openLmdbDataset },
  webdataset: { isAt: hasWebDatasetSplit, open: openWebDataset },
  parquet: { isAt: hasParquetSplit, open: openParquetDataset },
  folder: { isAt: hasFolderSplit, open: openFolderDataset },
};

/**
 * Opens a split of a dataset.
 *
 * @throws UserError where the files are missing or damaged, naming what is wrong and where
 */
export async function openDataset(
  path: string,
  {
    split = 'train',
    source,
    columns = {},
    shuffleBuffer,
    shard,
    warn = console.warn,
  }: Partial<OpenDatasetOptions> = {},
): Promise<Dataset> {
  if (!/^[^/\\\0]+$/.test(split)) {
    throw new UserError(`split "${split}": expected the name of a split, like "train", not a path`);
  }
  const options = { split, source, columns, shuffleBuffer, shard, warn };
  // Where nothing is found, the message of tsv says what is missing.
  const form = forms[source ?? findSource(path, split) ?? 'tsv'];
  const dataset = await form.open(path, options);
  return shard === undefined ? dataset : new ShardDataset(dataset, shard);
}

/** How a split seems to be stored, told from the files that are there; undefined where nothing is found. */
export function findSource(path: string, split: string): DatasetSource | undefined {
  return datasetSources.find((name) => forms[name].isAt(path, split));
}
