import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ImageWorkerPool } from '../data/imageWorkerPool.js';
import { readAhead } from '../data/readAhead.js';
import { UserError } from '../errors.js';
import { normalize } from '../eval/ranking.js';
import { writeText } from '../io/atomic.js';
import { bytesOf } from '../io/readFile.js';
import type { Reporter } from '../io/terminal.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { gatherRows } from '../rows.js';
import { ApproximateSearch } from './approximateSearch.js';
import { checkGraphFile } from './graphFile.js';
import { listPictures } from './indexSource.js';
import { type SearchChoice, wantsGraph } from './openSearch.js';
import {
  type GraphDescription,
  type IndexedPicture,
  indexFiles,
  type PictureIndex,
  pictureLine,
  readIndex,
  readPictures,
  requireIndexPlace,
  writeIndex,
} from './pictureIndex.js';

export interface BuildOptions {
  model: DualEncoder;
  manifest: PictureIndex['manifest'];
  batchSize: number;
  /** threads that decode and resize */
  workers: number;
  /** whether the index gets a graph for approximate search */
  search: SearchChoice;
  /** asked after each batch; true ends the work, which the next run takes up */
  stopped: () => boolean;
  reporter: Reporter;
}

export interface BuildResult {
  /** pictures of the index; undefined where the work was stopped */
  pictures: number | undefined;
  kept: number;
  encoded: number;
  /** pictures that can't be read or decoded */
  broken: number;
  /** of the graph for approximate search, where the index has one */
  graph: GraphDescription | undefined;
}

/** Batches that the workers have been asked for before their turn. */
const READ_AHEAD = 4;

/**
 * Makes an index of pictures, or brings one up to date: unchanged pictures keep their features, where the model is the
 * same; those that are gone leave. What is done is kept in a folder beside, batch by batch, so that work that was stopped
 * or killed goes on from there. Broken pictures are reported and left out. The graph of approximate search, where there is to
 * be one, is built last; unchanged features keep theirs.
 *
 * @throws UserError where there are no pictures, or `folder` holds something else
 */
export async function buildIndex(folder: string, options: BuildOptions): Promise<BuildResult> {
  const { model, manifest, batchSize, workers, search, stopped, reporter } = options;
  requireIndexPlace(folder);
  const { imageSource, pictures } = await listPictures(manifest.source, reporter.line);
  const { embed_dim: dimension, image_resolution: resolution } = model.config;
  const known = new Map<string, Float32Array>();
  const note = ({ pictures: found, features }: Pick<PictureIndex, 'pictures' | 'features'>) => {
    for (const [i, picture] of found.entries()) {
      known.set(keyOf(picture), features.subarray(i * dimension, (i + 1) * dimension));
    }
  };
  const earlier = existsSync(join(folder, indexFiles.manifest)) ? readIndex(folder) : undefined;
  if (earlier !== undefined) {
    if (earlier.manifest.fingerprint === manifest.fingerprint) note(earlier);
    else reporter.line(`${folder}: made with another model, so every picture is encoded again`);
  }
  const progress = new Progress(`${folder}.partial`, manifest.fingerprint, dimension);
  note(progress.done);

  const missing = pictures.filter((picture) => !known.has(keyOf(picture)));
  const kept = pictures.length - missing.length;
  let broken = 0;
  let encoded = 0;
  const pool = new ImageWorkerPool(workers, { source: imageSource, resolution });
  reporter.begin('pictures', pictures.length, kept);
  try {
    const load = (batch: IndexedPicture[]) => pool.load(Int32Array.from(batch, ({ row }) => row));
    for await (const { request, loaded } of readAhead(batches(missing, batchSize), load, READ_AHEAD)) {
      for (const failure of loaded.failures.values()) reporter.line(`left out: ${failure}`);
      broken += loaded.failures.size;
      const whole = [...request.keys()].filter((i) => !loaded.failures.has(i));
      if (whole.length > 0) {
        const features = normalize(await model.encodeImages(loaded.pixels, request.length), dimension);
        const found = {
          pictures: whole.map((i) => request[i]),
          features: gatherRows(features, whole, dimension),
        };
        progress.append(found);
        note(found);
        encoded += whole.length;
      }
      reporter.advance(kept + encoded + broken);
      if (stopped()) return { pictures: undefined, kept, encoded, broken, graph: undefined };
    }
  } finally {
    reporter.end();
    await pool.close();
  }
  const indexed = pictures.filter((picture) => known.has(keyOf(picture)));
  const features = new Float32Array(indexed.length * dimension);
  for (const [i, picture] of indexed.entries()) features.set(known.get(keyOf(picture))!, i * dimension);
  let graph: GraphDescription | undefined;
  const graphFile = join(progress.folder, indexFiles.graph);
  if (wantsGraph(search, indexed.length)) {
    graph = keepGraph(folder, earlier, features, graphFile);
    graph ??= await buildGraph(graphFile, features, dimension, stopped, reporter);
    if (graph === undefined) return { pictures: undefined, kept, encoded, broken, graph };
  }
  const index = { manifest: { ...manifest, graph }, pictures: indexed, features };
  writeIndex(folder, index, graph === undefined ? undefined : graphFile);
  progress.remove();
  return { pictures: indexed.length, kept, encoded, broken, graph };
}

/** Copies the graph of the index as it was, where that has the same features and is whole. */
function keepGraph(
  folder: string,
  earlier: PictureIndex | undefined,
  features: Float32Array,
  path: string,
): GraphDescription | undefined {
  const graph = earlier?.manifest.graph;
  if (earlier === undefined || graph === undefined) return undefined;
  if (Buffer.compare(bytesOf(earlier.features), bytesOf(features)) !== 0) return undefined;
  const kept = join(folder, indexFiles.graph);
  const { dimension } = earlier.manifest;
  try {
    if (checkGraphFile(kept, features.length / dimension, dimension) !== graph.sha256) return undefined;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
  copyFileSync(kept, path);
  return graph;
}

async function buildGraph(
  path: string,
  features: Float32Array,
  dimension: number,
  stopped: () => boolean,
  reporter: Reporter,
): Promise<GraphDescription | undefined> {
  reporter.begin('graph', features.length / dimension, 0);
  try {
    return await ApproximateSearch.build(path, features, dimension, (done) => {
      reporter.advance(done);
      return !stopped();
    });
  } finally {
    reporter.end();
  }
}

/** Rows move when a folder changes; a picture stays itself. */
function keyOf({ id, version }: IndexedPicture): string {
  return `${version} ${id}`;
}

function* batches<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let first = 0; first < items.length; first += size) yield items.slice(first, first + size);
}

/** What an index that is being made has so far: features, then the lines of their pictures, appended batch by batch. */
class Progress {
  readonly done: Pick<PictureIndex, 'pictures' | 'features'>;
  readonly #features: string;
  readonly #pictures: string;

  constructor(
    readonly folder: string,
    fingerprint: string,
    dimension: number,
  ) {
    this.#features = join(folder, 'features.f32');
    this.#pictures = join(folder, indexFiles.pictures);
    const mark = join(folder, 'model');
    if (!existsSync(mark) || readFileSync(mark, 'utf8').trim() !== fingerprint) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      writeText(mark, fingerprint);
    }
    // A process that was killed may have left a line cut short, or features without lines.
    for (const path of [this.#features, this.#pictures]) appendFileSync(path, '');
    const text = readFileSync(this.#pictures);
    truncateSync(this.#pictures, text.lastIndexOf(0x0a) + 1);
    const bytes = readFileSync(this.#features);
    const pictures = readPictures(this.#pictures).slice(0, Math.floor(bytes.length / dimension / 4));
    const length = pictures.length * dimension;
    const features = new Float32Array(length);
    bytesOf(features).set(bytes.subarray(0, length * 4));
    truncateSync(this.#features, length * 4);
    writeFileSync(this.#pictures, pictures.map(pictureLine).join(''));
    this.done = { pictures, features };
  }

  append({ pictures, features }: Pick<PictureIndex, 'pictures' | 'features'>): void {
    appendFileSync(this.#features, bytesOf(features));
    appendFileSync(this.#pictures, pictures.map(pictureLine).join(''));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
