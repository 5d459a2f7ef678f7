import { shownPicture } from '../image/shownPicture.js';
import type { Embedder } from '../search/embedder.js';
import type { PictureReader } from '../search/indexSource.js';
import type { Searcher } from '../search/openSearch.js';
import type { PictureIndex } from '../search/pictureIndex.js';
import { Batcher } from './batcher.js';

export interface Found {
  /** number in the index: of GET /images/:id */
  picture: number;
  name: string;
  cosine: number;
}

/** The most that a request may ask for. */
export const MAX_RESULTS = 100;
const SHOWN_SIDE = 512;

/** What the routes do, with requests that come together computed together. */
export class SearchService {
  readonly #texts: Batcher<string, Float32Array>;
  readonly #decoded: Batcher<Uint8Array, Float32Array>;
  readonly #pictures: Batcher<Float32Array, Float32Array>;
  readonly #searches: Batcher<Float32Array, Found[]>;
  readonly #shown: Batcher<number, Buffer>;

  /** @param search among the index's features */
  constructor(
    readonly index: PictureIndex,
    search: Searcher,
    embedder: Embedder,
    pictures: PictureReader,
    { maxBatch, maxPixels }: { maxBatch: number; maxPixels: number },
  ) {
    const { dimension } = embedder;
    const rows = (features: Float32Array): Float32Array[] =>
      Array.from({ length: features.length / dimension }, (_, i) =>
        features.slice(i * dimension, (i + 1) * dimension),
      );
    this.#texts = new Batcher(maxBatch, async (texts) => rows(await embedder.texts(texts)));
    // One at a time: a decoded picture may be large.
    this.#decoded = new Batcher(1, async ([bytes]) => [await embedder.pixelsOf(bytes, maxPixels)]);
    this.#pictures = new Batcher(maxBatch, async (pixels) => rows(await embedder.pictures(pixels)));
    this.#searches = new Batcher(maxBatch, async (queries) => {
      const together = new Float32Array(queries.length * dimension);
      for (const [i, query] of queries.entries()) together.set(query, i * dimension);
      const { k, indices, scores } = await search.topK(together, MAX_RESULTS);
      return queries.map((_, query) =>
        Array.from({ length: k }, (_, i) => {
          const picture = indices[query * k + i];
          return { picture, name: index.pictures[picture].id, cosine: scores[query * k + i] };
        }),
      );
    });
    this.#shown = new Batcher(1, async ([picture]) => {
      const { bytes, name } = await pictures.read(picture);
      return [await shownPicture(bytes, name, SHOWN_SIDE)];
    });
  }

  /** Unit feature of a text. */
  embedText(text: string): Promise<Float32Array> {
    return this.#texts.add(text);
  }

  /** Unit feature of a picture file's content. @throws UserError where it can't be decoded, or has too many pixels */
  async embedPicture(bytes: Uint8Array): Promise<Float32Array> {
    return this.#pictures.add(await this.#decoded.add(bytes));
  }

  /** The pictures nearest to a unit feature, best first, at most MAX_RESULTS. */
  async nearest(feature: Float32Array, k: number): Promise<Found[]> {
    return (await this.#searches.add(feature)).slice(0, k);
  }

  /** A picture of the index as a JPEG file. @throws UserError where it is gone or damaged */
  show(picture: number): Promise<Buffer> {
    return this.#shown.add(picture);
  }
}
