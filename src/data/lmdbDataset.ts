import { join } from 'node:path';
import { UserError } from '../errors.js';
import { isFile } from '../io/fileSystem.js';
import { LmdbFile } from '../io/lmdb/read.js';
import type { Dataset, Id, OpenDatasetOptions } from './dataset.js';
import { Growing, shared } from './growing.js';
import { idOf, KeyTableBuilder, keyOf } from './keyTable.js';
import type { LmdbImageSource } from './lmdbImages.js';
import { LmdbTexts, type PairPlaces, readPair } from './lmdbTexts.js';
import { PairDataset, type PairRows } from './pairDataset.js';

const DATA = 'data.mdb';

/** Whether `path` is the LMDB folder of a split, or holds it as lmdb/SPLIT. */
export function hasLmdbSplit(path: string, split: string): boolean {
  try {
    return findSplit(path, split) !== undefined;
  } catch {
    return false;
  }
}

/**
 * Opens a split as the reference's build_lmdb_dataset.py writes it, in DIR/lmdb/SPLIT or in that folder itself: `imgs`,
 * base64 by image id, and `pairs`, pickles of (image id, text id, text) by the pair's position, in decimal. Positions
 * are those of the reference. Images are numbered in order of their keys, texts by their first pair. All pairs are read
 * once; the keys and places of the pictures, not the pictures.
 *
 * @throws UserError naming the file where one is missing, damaged or no such LMDB, and with the pair where its pickle
 * is not (image id, text id, text) or names an image that `imgs` lacks
 */
export async function openLmdbDataset(path: string, { split, warn }: OpenDatasetOptions): Promise<Dataset> {
  const folder = findSplit(path, split);
  if (folder === undefined) {
    throw new UserError(
      `${path}: found no LMDB of split "${split}"; expected pairs/${DATA} and imgs/${DATA} in ` +
        `${join(path, 'lmdb', split)} or in the folder itself`,
    );
  }
  const imagePath = join(folder, 'imgs', DATA);
  const imageSource = readImages(imagePath, warn);
  const pairs = new LmdbFile(join(folder, 'pairs', DATA));
  try {
    const places = readPlaces(pairs, warn);
    const joined = joinPairs(pairs, places, imageSource);
    const imageId = (row: number) => idOf(keyOf(imageSource.ids, row), joined.numericImageIds);
    return new PairDataset({
      location: folder,
      imageSource,
      imageCount: imageSource.lengths.length,
      imageId,
      texts: new LmdbTexts(pairs, places, joined, (position) => imageId(joined.imageRows[position])),
      pairs: joined,
      unpairedTextCount: 0,
    });
  } catch (error) {
    pairs.close();
    throw error;
  }
}

function findSplit(path: string, split: string): string | undefined {
  const holdsLmdb = (folder: string) => ['pairs', 'imgs'].every((name) => isFile(join(folder, name, DATA)));
  return [join(path, 'lmdb', split), path].find(holdsLmdb);
}

function readImages(path: string, warn: (message: string) => void): LmdbImageSource {
  const file = new LmdbFile(path);
  try {
    const stated = readCount(file, 'num_images');
    const positions = new Growing((length) => new Float64Array(length));
    const lengths = new Growing((length) => new Uint32Array(length));
    const ids = new KeyTableBuilder();
    for (const { key, position, length } of file.entries()) {
      if (key.toString() === 'num_images') continue;
      positions.push(position);
      lengths.push(length);
      ids.add(key);
    }
    if (positions.length !== stated) {
      warn(`${path}: num_images says ${stated}, there are ${positions.length}; all of them are taken`);
    }
    return {
      kind: 'lmdb',
      path,
      positions: shared(positions.values()),
      lengths: shared(lengths.values()),
      ids: ids.build(),
    };
  } finally {
    file.close();
  }
}

/** The places of all pairs. As the reference does, what lies beyond num_samples is left alone. */
function readPlaces(file: LmdbFile, warn: (message: string) => void): PairPlaces {
  const count = readCount(file, 'num_samples');
  if (count > file.entryCount) {
    throw new UserError(`${file.path}: num_samples says ${count}, the file has ${file.entryCount} keys`);
  }
  const positions = new Float64Array(count);
  const lengths = new Uint32Array(count);
  let found = 0;
  let others = 0;
  for (const { key, position, length } of file.entries()) {
    const name = key.toString('latin1');
    const index = Number(name);
    if (String(index) === name && index >= 0 && index < count) {
      positions[index] = position;
      lengths[index] = length;
      found++;
    } else if (name !== 'num_samples') others++;
  }
  if (found < count) {
    throw new UserError(`${file.path}: num_samples says ${count}, pair ${positions.indexOf(0)} is missing`);
  }
  if (others > 0) warn(`${file.path}: ${others} keys beyond num_samples (${count}) are left out`);
  return { positions, lengths };
}

function readCount(file: LmdbFile, key: 'num_images' | 'num_samples'): number {
  const place = file.find(Buffer.from(key));
  const text = place && file.read(place, `${file.path}, ${key}`).toString('latin1', 0, 20);
  if (text === undefined || !/^\d{1,15}$/.test(text)) {
    throw new UserError(
      `${file.path}: expected the number of entries under the key ${key}, as build_lmdb_dataset.py writes it; found ` +
        (text === undefined ? 'no such key' : JSON.stringify(text)),
    );
  }
  return Number(text);
}

interface Join extends PairRows {
  /** the first pair of each text */
  firstPairs: Int32Array;
  /** Whether the pairs write image ids as numbers, as the reference's tools do. */
  numericImageIds: boolean;
}

function joinPairs(file: LmdbFile, places: PairPlaces, images: LmdbImageSource): Join {
  const rowOfImage = new Map<string, number>();
  for (let row = 0; row < images.lengths.length; row++) rowOfImage.set(keyOf(images.ids, row), row);
  const rowOfText = new Map<Id, number>();
  const count = places.lengths.length;
  const imageRows = new Int32Array(count);
  const textRows = new Int32Array(count);
  const firstPairs = new Growing((length) => new Int32Array(length));
  let numericImageIds = true;
  for (let position = 0; position < count; position++) {
    const { imageId, textId, text } = readPair(file, places, position);
    const imageRow = rowOfImage.get(String(imageId));
    if (imageRow === undefined) {
      throw new UserError(`${file.path}, pair ${position}: image ${imageId} is not in ${images.path}`);
    }
    if (typeof imageId === 'string') numericImageIds = false;
    let textRow = rowOfText.get(textId);
    if (textRow === undefined) {
      textRow = rowOfText.size;
      rowOfText.set(textId, textRow);
      firstPairs.push(position);
    } else {
      const first = firstPairs.at(textRow);
      if (readPair(file, places, first).text !== text) {
        throw new UserError(
          `${file.path}: pairs ${first} and ${position} give text_id ${textId} different texts`,
        );
      }
    }
    imageRows[position] = imageRow;
    textRows[position] = textRow;
  }
  return { imageRows, textRows, firstPairs: firstPairs.values(), numericImageIds };
}
