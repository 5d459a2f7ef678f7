import { UserError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic.js';
import { readJsonLines } from '../io/jsonl.js';
import { readNpy } from '../io/npy.js';
import type { Id, ImageAnnotation, Prediction, Recall, TextAnnotation } from './retrieval.js';

/** The features of a file, in its order. */
export interface Features {
  ids: Id[];
  /** float32 [ids, dimension]. */
  features: Float32Array;
  dimension: number;
}

export type Direction = 'textToImage' | 'imageToText';

/** Names of the fields in the reference's prediction and annotation files. */
const FIELDS = {
  textToImage: { query: 'text_id', candidates: 'image_ids' },
  imageToText: { query: 'image_id', candidates: 'text_ids' },
} as const;

export type IdField = 'image_id' | 'text_id';

/** Where the ids of a NumPy file's rows stand: `NAME.npy` has `NAME.ids.jsonl` beside it. */
export function idsPath(npy: string): string {
  return npy.replace(/\.npy$/, '.ids.jsonl');
}

/**
 * Reads features: from a `.npy` file (see readNpyFeatures), or one `{"image_id" | "text_id": …, "feature": […]}` a
 * line, as the reference's extract_features writes them. Values are rounded to float32; ids stay number or string.
 *
 * @throws UserError with file and line where a field is missing or of another kind, a dimension differs from the
 * first line's, a value is not finite, or an id repeats; also for an empty file
 */
export function readFeatures(path: string, idField: IdField): Features {
  if (path.endsWith('.npy')) return readNpyFeatures(path, idField);
  const ids: Id[] = [];
  const seen = new Set<Id>();
  let dimension = 0;
  let features = new Float32Array(0);
  for (const { value, where } of readJsonLines(path)) {
    const id = requireId(value[idField], idField, where);
    requireNew(seen, id, idField, where);
    const row = value.feature;
    if (!Array.isArray(row) || row.length === 0) {
      throw new UserError(`${where}: expected "feature", a list of numbers`);
    }
    if (ids.length === 0) dimension = row.length;
    if (row.length !== dimension) {
      throw new UserError(`${where}: "feature" has ${row.length} values, the lines before have ${dimension}`);
    }
    const start = ids.length * dimension;
    if (features.length < start + dimension) features = grow(features, start + dimension);
    for (let i = 0; i < dimension; i++) {
      features[start + i] = typeof row[i] === 'number' ? row[i] : Number.NaN;
      if (!Number.isFinite(features[start + i])) {
        throw new UserError(`${where}: "feature" value ${i} is no finite float32 number`);
      }
    }
    ids.push(id);
  }
  if (ids.length === 0) throw new UserError(`${path}: the file is empty, expected one feature a line`);
  return { ids, features: features.subarray(0, ids.length * dimension), dimension };
}

/**
 * Reads features from a NumPy file, `NAME.npy`, float32 [n, dimension], and their ids from `NAME.ids.jsonl` beside it,
 * `{"image_id" | "text_id": …}` a row.
 *
 * @throws UserError naming file, and row or line, where the two do not fit together, a value is not finite, or an id
 * is missing or repeats; also for no rows
 */
function readNpyFeatures(path: string, idField: IdField): Features {
  const idFile = idsPath(path);
  const seen = new Set<Id>();
  for (const { value, where } of readJsonLines(idFile)) {
    const id = requireId(value[idField], idField, where);
    requireNew(seen, id, idField, where);
  }
  const { shape, data } = readNpy(path);
  const [rows, dimension] = shape;
  if (rows !== seen.size) throw new UserError(`${path} has ${rows} rows, ${idFile} ${seen.size} ids`);
  if (data.length === 0)
    throw new UserError(`${path}: expected features, found ${rows} × ${dimension} values`);
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new UserError(
      `${path}, row ${Math.floor(bad / dimension)}: value ${bad % dimension} is not finite`,
    );
  }
  return { ids: [...seen], features: data, dimension };
}

/**
 * Features in the order of `ids`, in a new array: brings a feature file into the order of an annotation.
 *
 * @param name what the ids stand for, for the error message: "text", say
 * @throws UserError naming an id that has no feature
 */
export function selectFeatures(from: Features, ids: readonly Id[], name: string): Float32Array {
  const rowOf = new Map(from.ids.map((id, row) => [id, row]));
  const selected = new Float32Array(ids.length * from.dimension);
  ids.forEach((id, i) => {
    const row = rowOf.get(id);
    if (row === undefined)
      throw new UserError(`${name} ${JSON.stringify(id)} has no feature among the ${rowOf.size} given`);
    selected.set(
      from.features.subarray(row * from.dimension, (row + 1) * from.dimension),
      i * from.dimension,
    );
  });
  return selected;
}

/**
 * Reads a `*_texts.jsonl` annotation: `{"text_id", "text", "image_ids": […]}` a line. The text itself is not needed
 * here and left aside.
 *
 * @throws UserError with file and line where a field is missing or of another kind, or a text_id repeats; also for
 * an empty file
 */
export function readTextAnnotation(path: string): TextAnnotation[] {
  const texts: TextAnnotation[] = [];
  const seen = new Set<Id>();
  for (const { value, where } of readJsonLines(path)) {
    const textId = requireId(value.text_id, 'text_id', where);
    requireNew(seen, textId, 'text_id', where);
    if (!Array.isArray(value.image_ids)) {
      throw new UserError(`${where}: expected "image_ids", a list of ids ([] where unknown)`);
    }
    texts.push({ textId, imageIds: value.image_ids.map((id) => requireId(id, 'image_ids', where)) });
  }
  if (texts.length === 0) throw new UserError(`${path}: the file is empty, expected one text a line`);
  return texts;
}

/** Writes predictions as the reference does: `{"text_id": 5, "image_ids": [12, 7]}` a line, or the other way round. */
export function writePredictions(
  path: string,
  direction: Direction,
  predictions: readonly Prediction[],
): void {
  writeFileAtomic(path, (append) => {
    for (const { queryId, candidateIds } of predictions) append(idLine(direction, queryId, candidateIds));
  });
}

/** Writes an image→text annotation as the reference's transform_ir_annotation_to_tr does (`.tr.jsonl`). */
export function writeImageAnnotation(path: string, images: readonly ImageAnnotation[]): void {
  writeFileAtomic(path, (append) => {
    for (const { imageId, textIds } of images) append(idLine('imageToText', imageId, textIds));
  });
}

/** Writes the score file that the reference's evaluation writes, byte for byte; recall in percent. */
export function writeScores(path: string, recall: Recall): void {
  const mean = pythonFloat(recall.meanRecall);
  const r1 = pythonFloat(recall.recallAt1);
  const r5 = pythonFloat(recall.recallAt5);
  const r10 = pythonFloat(recall.recallAt10);
  const scores = `{"score": ${mean}, "mean_recall": ${mean}, "r1": ${r1}, "r5": ${r5}, "r10": ${r10}}`;
  writeFileAtomic(path, (append) => append(`{"success": true, "score": ${mean}, "scoreJson": ${scores}}`));
}

function idLine(direction: Direction, queryId: Id, candidateIds: readonly Id[]): string {
  const { query, candidates } = FIELDS[direction];
  return `{"${query}": ${pythonId(queryId)}, "${candidates}": [${candidateIds.map(pythonId).join(', ')}]}\n`;
}

/** An id as Python's json.dumps writes it: ASCII only. */
function pythonId(id: Id): string {
  return JSON.stringify(id).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A percentage as Python prints a float: 100.0 where JavaScript prints 100. */
function pythonFloat(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** An id of a line. @throws UserError naming the line where it is none */
export function requireId(value: unknown, field: string, where: string): Id {
  if (typeof value === 'string' || Number.isSafeInteger(value)) return value as Id;
  if (typeof value === 'number') {
    throw new UserError(
      `${where}: "${field}" holds ${value}, which is no exact whole number; write it as a string`,
    );
  }
  throw new UserError(
    `${where}: expected "${field}" to hold a number or string, found ${JSON.stringify(value)}`,
  );
}

/** Notes an id of a file. @throws UserError naming the line where it occurred before */
export function requireNew(seen: Set<Id>, id: Id, field: string, where: string): void {
  if (seen.has(id))
    throw new UserError(`${where}: "${field}" ${JSON.stringify(id)} occurred before; ids must be unique`);
  seen.add(id);
}

/** A copy with room for at least `length` values, doubling so that reading stays linear. */
function grow(features: Float32Array, length: number): Float32Array<ArrayBuffer> {
  const grown = new Float32Array(Math.max(length, features.length * 2));
  grown.set(features);
  return grown;
}
