import { UserError } from '../errors.js';
import type { Dataset, OpenDatasetOptions } from './dataset.js';
import { startsOf } from './groups.js';
import { Growing, shared } from './growing.js';
import { KeyTableBuilder, keyOf } from './keyTable.js';
import { PairDataset } from './pairDataset.js';
import { pictureExtension } from './pictureExtension.js';
import { openShardIndex, type ShardIndex } from './shardIndex.js';
import { filesOfSplit, hasFilesOfSplit, shortNames } from './splitFiles.js';
import { TarTexts } from './tarTexts.js';

const ENDINGS = ['.tar', '.tar.gz', '.tgz'];

/** Whether a split seems to be tar shards: by the ending of the path, or by files in the folder. */
export function hasWebDatasetSplit(path: string, split: string): boolean {
  return hasFilesOfSplit(path, split, ENDINGS);
}

/**
 * Opens tar shards in webdataset's form: a tar, a pattern such as `shard-{000000..000099}.tar`, or a folder of tars (see
 * filesOfSplit). Members that follow each other with one name up to the first dot are a sample: a picture (by its ending)
 * and a caption, in .txt or in a field of .json. Each sample is a pair; its ids are SHARD/KEY. Beside each shard an index
 * of its members is kept, so that opening again reads no archive. Captions are read when their turn comes.
 *
 * @throws UserError naming the shard where it is packed, cut off or damaged, a key occurs twice, or a sample has two
 * pictures
 */
export async function openWebDataset(
  path: string,
  { split, columns, shuffleBuffer, warn }: OpenDatasetOptions,
): Promise<Dataset> {
  const paths = filesOfSplit(path, split, ENDINGS);
  const names = shortNames(paths);
  const keys = new KeyTableBuilder();
  const places = {
    imageOffsets: new Growing((length) => new Float64Array(length)),
    imageSizes: new Growing((length) => new Float64Array(length)),
    textOffsets: new Growing((length) => new Float64Array(length)),
    textSizes: new Growing((length) => new Float64Array(length)),
    textIsJson: new Growing((length) => new Uint8Array(length)),
  };
  const counts: number[] = [];
  for (const [i, shard] of paths.entries()) {
    const before = keys.length;
    const index = openShardIndex(shard, warn);
    let incomplete = 0;
    let example = '';
    for (const { key, image, text, isJson } of samplesOf(index, shard, columns)) {
      if (image === undefined || text === undefined) {
        example = `${key} has no ${image === undefined ? 'picture' : 'caption'}`;
        incomplete++;
        continue;
      }
      keys.add(`${names[i]}/${key}`);
      places.imageOffsets.push(index.offsets[image]);
      places.imageSizes.push(index.sizes[image]);
      places.textOffsets.push(index.offsets[text]);
      places.textSizes.push(index.sizes[text]);
      places.textIsJson.push(isJson ? 1 : 0);
    }
    if (incomplete > 0) warn(`${shard}: ${incomplete} incomplete samples are left out (${example})`);
    counts.push(keys.length - before);
  }
  const count = keys.length;
  if (count === 0) {
    throw new UserError(
      `${path}: there is no sample with a picture and a caption (.txt or .json) in ${paths.length} shards`,
    );
  }
  const ids = keys.build();
  const rowStarts = startsOf(counts);
  const rows = Int32Array.from({ length: count }, (_, row) => row);
  return new PairDataset({
    location: path,
    imageSource: {
      kind: 'tar',
      paths,
      rowStarts,
      offsets: shared(places.imageOffsets.values()),
      sizes: shared(places.imageSizes.values()),
      keys: ids,
    },
    imageCount: count,
    imageId: (row) => keyOf(ids, row),
    texts: new TarTexts({
      paths,
      rowStarts,
      offsets: places.textOffsets.values(),
      sizes: places.textSizes.values(),
      isJson: places.textIsJson.values(),
      keys: ids,
      field: columns.text,
    }),
    pairs: { imageRows: rows, textRows: rows },
    unpairedTextCount: 0,
    groups: rowStarts.filter((_, shard) => counts[shard] > 0),
    shuffleBuffer,
  });
}

/** Members of one key, by their number in the index. */
interface Sample {
  key: string;
  image?: number;
  text?: number;
  isJson: boolean;
}

function* samplesOf(
  { names, offsets }: ShardIndex,
  path: string,
  columns: OpenDatasetOptions['columns'],
): Generator<Sample> {
  const seen = new Set<string>();
  let sample: Sample | undefined;
  for (let member = 0; member < offsets.length; member++) {
    const name = keyOf(names, member);
    // webdataset's own rule; other names (hidden files, files without an ending) are no part of a sample.
    const parts = /^((?:.*\/)?[^./]+)\.([^/]*)$/s.exec(name);
    if (parts === null) continue;
    const [, key, ending] = parts;
    if (sample?.key !== key) {
      if (sample !== undefined) yield sample;
      if (seen.has(key)) throw new UserError(`${path}: the key ${key} occurs twice, its members are apart`);
      seen.add(key);
      sample = { key, isJson: false };
    }
    const kind = kindOf(ending.toLowerCase(), columns);
    if (kind === 'image') {
      if (sample.image !== undefined) {
        throw new UserError(
          `${path}: sample ${key} has two pictures; say which by its ending, as columns: { image: jpg }`,
        );
      }
      sample.image = member;
    } else if (kind === 'json' || (kind === 'txt' && (sample.text === undefined || sample.isJson))) {
      if (kind === 'json' && sample.text !== undefined && !sample.isJson) continue;
      sample.text = member;
      sample.isJson = kind === 'json';
    }
  }
  if (sample !== undefined) yield sample;
}

/** What a member is. A field that is given says that captions are in .json; else .txt goes before it. */
function kindOf(
  ending: string,
  { image, text }: OpenDatasetOptions['columns'],
): 'image' | 'txt' | 'json' | undefined {
  if (image === undefined ? pictureExtension(`.${ending}`) !== undefined : ending === image.toLowerCase()) {
    return 'image';
  }
  if (ending === 'json') return 'json';
  return ending === 'txt' && text === undefined ? 'txt' : undefined;
}
