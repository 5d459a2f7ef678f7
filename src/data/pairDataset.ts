import type {
  Caption,
  Dataset,
  Id,
  ImageReader,
  ImageSource,
  Pair,
  StoredImage,
  TextRecord,
} from './dataset.js';
import { openImages } from './images.js';

const MAX_ID_LENGTH = 1024;

/** Whole numbers that float64 does not hold exactly are no ids: two could become one. Nor are very long strings. */
export function isId(value: unknown): value is Id {
  return typeof value === 'string' ? value.length <= MAX_ID_LENGTH : Number.isSafeInteger(value);
}

/** Texts by their row. */
export interface TextReader {
  readonly textCount: number;
  read(row: number): Pick<TextRecord, 'textId' | 'text'>;
  /** All texts in order. */
  readAll(): Generator<TextRecord>;
  close(): void;
}

/** The rows of each pair. */
export interface PairRows {
  imageRows: Int32Array;
  textRows: Int32Array;
}

/** What a source knows of a dataset. */
export interface DatasetParts {
  location: string;
  imageSource: ImageSource;
  imageCount: number;
  /** The id of an image row, in the form in which the texts write image ids. */
  imageId: (row: number) => Id;
  texts: TextReader;
  pairs: PairRows;
  unpairedTextCount: number;
  groups?: Int32Array;
  shuffleBuffer?: number;
}

/** A dataset of one source: images, texts, and a table of the pairs. */
export class PairDataset implements Dataset {
  readonly #parts: DatasetParts;
  readonly #images: ImageReader;

  /** Closes `parts.texts` when it is closed. */
  constructor(parts: DatasetParts) {
    this.#parts = parts;
    this.#images = openImages(parts.imageSource);
  }

  get location(): string {
    return this.#parts.location;
  }

  get length(): number {
    return this.pairCount;
  }

  get pairCount(): number {
    return this.pairImageRows.length;
  }

  get imageCount(): number {
    return this.#parts.imageCount;
  }

  get textCount(): number {
    return this.#parts.texts.textCount;
  }

  get unpairedTextCount(): number {
    return this.#parts.unpairedTextCount;
  }

  get pairImageRows(): Int32Array {
    return this.#parts.pairs.imageRows;
  }

  get pairTextRows(): Int32Array {
    return this.#parts.pairs.textRows;
  }

  get imageSource(): ImageSource {
    return this.#parts.imageSource;
  }

  get groups(): Int32Array | undefined {
    return this.#parts.groups;
  }

  get shuffleBuffer(): number | undefined {
    return this.#parts.shuffleBuffer;
  }

  caption(position: number): Caption {
    const imageRow = this.pairImageRows[position];
    const { textId, text } = this.#parts.texts.read(this.pairTextRows[position]);
    return { imageRow, imageId: this.imageId(imageRow), textId, text };
  }

  async pair(position: number): Promise<Pair> {
    const { imageRow, imageId, textId, text } = this.caption(position);
    const { bytes: image } = await this.image(imageRow);
    return { imageId, textId, text, image };
  }

  imageId(row: number): Id {
    return this.#parts.imageId(row);
  }

  image(row: number): StoredImage | Promise<StoredImage> {
    return this.#images.read(row);
  }

  texts(): Generator<TextRecord> {
    return this.#parts.texts.readAll();
  }

  close(): void {
    this.#images.close();
    this.#parts.texts.close();
  }
}
