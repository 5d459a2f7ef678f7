import type { DataPart, DataSetting } from '../config/data.js';
import {
  type Caption,
  type Dataset,
  type Id,
  type ImageSource,
  openDataset,
  type Pair,
  type StoredImage,
  type TextRecord,
} from './dataset.js';
import { rowIn, startsOf } from './groups.js';
import type { WeightedPart } from './sampler.js';

/** The parts of a `data` setting. */
export function partsOf(data: DataSetting): DataPart[] {
  const list = Array.isArray(data) ? data : [data];
  return list.map((part) => (typeof part === 'string' ? { path: part, weight: 1 } : part));
}

/**
 * Opens what the setting `data` names: one dataset, or several as one.
 *
 * @param split of the parts that do not say theirs
 * @throws UserError as openDataset
 */
export async function openData(
  data: DataSetting,
  { split, warn }: { split: string; warn: (message: string) => void },
): Promise<Dataset> {
  const parts = partsOf(data);
  const opened: (WeightedPart & { dataset: Dataset })[] = [];
  try {
    for (const { path, weight, ...options } of parts) {
      const dataset = await openDataset(path, { ...options, split: options.split ?? split, warn });
      const { pairCount, groups, shuffleBuffer } = dataset;
      opened.push({ dataset, pairCount, groups, shuffleBuffer, weight });
    }
  } catch (error) {
    for (const { dataset } of opened) dataset.close();
    throw error;
  }
  return opened.length === 1 && opened[0].weight === 1 ? opened[0].dataset : new MixedDataset(opened);
}

/**
 * Several datasets as one: their images, texts and pairs one after the other. How much of each an epoch visits, their
 * weights say; see datasetOrder. Ids are PART/ID, with the number of the part from 0, so that those of different parts
 * differ.
 */
export class MixedDataset implements Dataset {
  readonly pairImageRows: Int32Array;
  readonly pairTextRows: Int32Array;
  readonly imageSource: ImageSource;
  readonly #datasets: Dataset[];
  readonly #pairStarts: Int32Array;
  readonly #imageStarts: Int32Array;

  /** Closes the datasets of the parts when it is closed. */
  constructor(readonly parts: readonly (WeightedPart & { dataset: Dataset })[]) {
    this.#datasets = parts.map(({ dataset }) => dataset);
    this.#pairStarts = startsOf(this.#datasets.map(({ pairCount }) => pairCount));
    this.#imageStarts = startsOf(this.#datasets.map(({ imageCount }) => imageCount));
    const textStarts = startsOf(this.#datasets.map(({ textCount }) => textCount));
    this.pairImageRows = this.#joined(({ pairImageRows }) => pairImageRows, this.#imageStarts);
    this.pairTextRows = this.#joined(({ pairTextRows }) => pairTextRows, textStarts);
    this.imageSource = {
      kind: 'mixed',
      parts: this.#datasets.map(({ imageSource }) => imageSource),
      rowStarts: this.#imageStarts,
    };
  }

  get location(): string {
    return this.#datasets.map(({ location }) => location).join(' + ');
  }

  get length(): number {
    return this.pairCount;
  }

  get pairCount(): number {
    return this.#sum(({ pairCount }) => pairCount);
  }

  get imageCount(): number {
    return this.#sum(({ imageCount }) => imageCount);
  }

  get textCount(): number {
    return this.#sum(({ textCount }) => textCount);
  }

  get unpairedTextCount(): number {
    return this.#sum(({ unpairedTextCount }) => unpairedTextCount);
  }

  caption(position: number): Caption {
    const { group, index } = rowIn(this.#pairStarts, position);
    const { imageRow, imageId, textId, text } = this.#datasets[group].caption(index);
    return {
      imageRow: this.#imageStarts[group] + imageRow,
      imageId: `${group}/${imageId}`,
      textId: `${group}/${textId}`,
      text,
    };
  }

  async pair(position: number): Promise<Pair> {
    const { imageRow, imageId, textId, text } = this.caption(position);
    const { bytes: image } = await this.image(imageRow);
    return { imageId, textId, text, image };
  }

  imageId(row: number): Id {
    const { group, index } = rowIn(this.#imageStarts, row);
    return `${group}/${this.#datasets[group].imageId(index)}`;
  }

  image(row: number): StoredImage | Promise<StoredImage> {
    const { group, index } = rowIn(this.#imageStarts, row);
    return this.#datasets[group].image(index);
  }

  *texts(): Generator<TextRecord> {
    for (const [part, dataset] of this.#datasets.entries()) {
      for (const { textId, text, imageIds } of dataset.texts()) {
        yield { textId: `${part}/${textId}`, text, imageIds: imageIds.map((id) => `${part}/${id}`) };
      }
    }
  }

  close(): void {
    for (const dataset of this.#datasets) dataset.close();
  }

  #sum(count: (dataset: Dataset) => number): number {
    return this.#datasets.reduce((sum, dataset) => sum + count(dataset), 0);
  }

  /** A column of the pairs' table, its rows counted on from part to part. */
  #joined(column: (dataset: Dataset) => Int32Array, starts: Int32Array): Int32Array {
    const joined = new Int32Array(this.pairCount);
    for (const [part, dataset] of this.#datasets.entries()) {
      const rows = column(dataset).map((row) => starts[part] + row);
      joined.set(rows, this.#pairStarts[part]);
    }
    return joined;
  }
}
