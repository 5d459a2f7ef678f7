import { rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { normalize, Search } from '../src/eval/ranking.js';
import { Random } from '../src/random.js';
import { ApproximateSearch } from '../src/search/approximateSearch.js';
import { median, timedRuns } from './timing.js';

export interface ApproximateMeasurement {
  candidates: number;
  dimension: number;
  buildSeconds: number;
  fileMegabytes: number;
  /** to open the search: read and check the graph, or look through the features */
  openSeconds: { approximate: number; exact: number };
  /** of one query alone, the median */
  queryMilliseconds: { approximate: number; exact: number };
  /** of 32 queries together, the median */
  batchMilliseconds: { approximate: number; exact: number };
  /** what an index would state of itself; of queries like the candidates; of queries that lie apart, as texts do */
  recallAt10: { own: number; alike: number; apart: number };
}

const QUERIES = 512;
const BATCH = 32;
const K = 10;
const CLUSTERS = 2000;
/** Directions in which the pictures of a cluster differ, besides a little noise. */
const DIRECTIONS = 32;

/** Times building and searching a graph of clustered features, beside the exact search. */
export async function measureApproximate(
  candidates: number,
  dimension: number,
): Promise<ApproximateMeasurement> {
  const features = clusteredFeatures(candidates, dimension, 'candidates');
  const alike = clusteredFeatures(QUERIES, dimension, 'queries');
  const path = join(tmpdir(), `cn-clip-bench-${process.pid}.usearch`);
  try {
    let began = performance.now();
    let told = began;
    const graph = await ApproximateSearch.build(path, features, dimension, (done) => {
      if (performance.now() - told > 10_000) {
        console.error(`${done} of ${candidates}`);
        told = performance.now();
      }
      return true;
    });
    const buildSeconds = (performance.now() - began) / 1000;
    began = performance.now();
    const approximate = await ApproximateSearch.open(path, graph!.sha256, features, dimension);
    const opened = performance.now();
    const exact = await Search.open(features, dimension);
    const openSeconds = {
      approximate: (opened - began) / 1000,
      exact: (performance.now() - opened) / 1000,
    };
    const both = async (queries: number) => ({
      approximate: await medianOf(approximate, alike.subarray(0, queries * dimension)),
      exact: await medianOf(exact, alike.subarray(0, queries * dimension)),
    });
    const queryMilliseconds = await both(1);
    const batchMilliseconds = await both(BATCH);
    const recall = async (queries: Float32Array) => {
      const right = (await exact.topK(queries, K)).indices;
      const found = (await approximate.topK(queries, K)).indices;
      let hits = 0;
      for (let i = 0; i < right.length; i += K) {
        const near = new Set(found.subarray(i, i + K));
        hits += right.subarray(i, i + K).filter((row) => near.has(row)).length;
      }
      return hits / right.length;
    };
    const recallAt10 = {
      own: graph!.recallAt10,
      alike: await recall(alike),
      apart: await recall(apart(alike, dimension)),
    };
    await exact.dispose();
    return {
      candidates,
      dimension,
      buildSeconds,
      fileMegabytes: statSync(path).size / 1e6,
      openSeconds,
      queryMilliseconds,
      batchMilliseconds,
      recallAt10,
    };
  } finally {
    rmSync(path, { force: true });
  }
}

async function medianOf(search: Pick<Search, 'topK'>, queries: Float32Array): Promise<number> {
  return 1000 * median(await timedRuns(9, () => search.topK(queries, K)));
}

function clusteredFeatures(rows: number, dimension: number, name: string): Float32Array {
  const shared = new Random(0, 'clusters');
  const directionsOf = (count: number) =>
    Float32Array.from({ length: count * dimension }, () => shared.normal());
  const centres = directionsOf(CLUSTERS);
  const directions = directionsOf(DIRECTIONS);
  const noise = directionsOf(CLUSTERS);
  const random = new Random(0, name);
  const features = new Float32Array(rows * dimension);
  for (let row = 0; row < rows; row++) {
    const values = features.subarray(row * dimension, (row + 1) * dimension);
    const centre = random.integer(CLUSTERS) * dimension;
    const start = random.integer(noise.length - dimension);
    for (let i = 0; i < dimension; i++) values[i] = centres[centre + i] + 0.3 * noise[start + i];
    for (let d = 0; d < DIRECTIONS; d++) {
      const weight = (0.8 * random.normal()) / Math.sqrt(DIRECTIONS);
      for (let i = 0; i < dimension; i++) values[i] += weight * directions[d * dimension + i];
    }
    values.set(normalize(values, dimension));
  }
  return features;
}

/** The same queries, all moved in one direction, so that their cosines with the candidates are around 0.3. */
function apart(queries: Float32Array, dimension: number): Float32Array {
  const random = new Random(0, 'apart');
  const gap = normalize(
    Float32Array.from({ length: dimension }, () => random.normal()),
    dimension,
  );
  return normalize(
    queries.map((value, i) => value + 2 * gap[i % dimension]),
    dimension,
  );
}
