import { UserError } from '../errors.js';
import { hasTsvSplit, openTsvDataset } from './tsvDataset.js';

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
  | { kind: 'files'; paths: readonly string[] };

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
  /** told what one should know, such as an index that can't be kept; console.warn by default */
  warn: (message: string) => void;
}

/** How a dataset can be stored. Where several fit, the first is taken. */
export const datasetSources = ['tsv'] as const;
export type DatasetSource = (typeof datasetSources)[number];

interface SourceForm {
  /** Whether the split seems to be stored in this form at `path`, or a part of it. Never throws. */
  isAt(path: string, split: string): boolean;
  open(path: string, options: OpenDatasetOptions): Promise<Dataset>;
}

const forms: Record<DatasetSource, SourceForm> = {
  tsv: { isAt: hasTsvSplit, open: openTsvDataset },
};

/**
 * Opens a split of a dataset.
 *
 * @throws UserError where the files are missing or damaged, naming what is wrong and where
 */
export async function openDataset(
  path: string,
  { split = 'train', source, warn = console.warn }: Partial<OpenDatasetOptions> = {},
): Promise<Dataset> {
  if (!/^[^/\\\0]+$/.test(split)) {
    throw new UserError(`split "${split}": expected the name of a split, like "train", not a path`);
  }
  return forms[source ?? guessSource(path, split)].open(path, { split, source, warn });
}

function guessSource(path: string, split: string): DatasetSource {
  // Where nothing is found, the message of tsv says what is missing.
  return datasetSources.find((name) => forms[name].isAt(path, split)) ?? 'tsv';
}
