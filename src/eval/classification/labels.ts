import { join } from 'node:path';
import { resolveInside } from '../../data/insidePath.js';
import { UserError } from '../../errors.js';
import { readCsv } from '../../io/csv.js';
import { isFile } from '../../io/fileSystem.js';
import { readJsonLines } from '../../io/jsonl.js';

/** A line of a labels file: a picture and the names, or numbers, of its classes. */
interface LabelLine {
  image: string;
  labels: readonly (string | number)[];
  where: string;
}

/** What separates the classes of one picture in a CSV file. */
const SEPARATOR = '|';

/**
 * Reads a labels file: which classes each picture shows.
 *
 * - JSON Lines: `{"image": "a.jpg", "label": "猫"}`, or `"labels": ["猫", "狗"]` where a picture shows several
 * - CSV: columns `image` and `label`, named in the first line; several labels are joined by |
 *
 * `picture` may stand for `image`. A label is a class's name; where the class names are given beforehand, it may be the
 * class's number too, from 0.
 *
 * @param folder that the pictures' names are relative to
 * @param classNames by default the labels that occur, in order of their code points
 * @throws UserError naming file and line for a field that is missing, a label that is no class, a picture that is
 * missing, outside of the folder, or occurs twice
 */
export function readLabels(
  path: string,
  folder: string,
  classNames?: readonly string[],
): { classNames: readonly string[]; images: string[]; targets: number[][] } {
  const lines = [...(path.endsWith('.csv') ? readTable(path) : readJsonLabels(path))];
  if (lines.length === 0) throw new UserError(`${path} names no pictures`);
  const names =
    classNames ?? [...new Set(lines.flatMap(({ labels }) => labels.map(String)))].sort(byCodePoints);
  const idOf = new Map(names.map((name, id) => [name, id]));
  const numberOf = (label: string | number): number | undefined => {
    const id = idOf.get(String(label));
    if (id !== undefined || classNames === undefined || !/^\d+$/.test(String(label))) return id;
    return Number(label) < names.length ? Number(label) : undefined;
  };
  const seen = new Set<string>();
  const targets = lines.map(({ image, labels, where }) => {
    if (seen.has(image)) throw new UserError(`${where}: picture ${image} occurred before`);
    seen.add(image);
    if (!isFile(join(folder, image))) {
      throw new UserError(`${where}: picture ${image} is not in ${folder}`);
    }
    resolveInside(folder, image);
    const ids = labels.map((label) => {
      const id = numberOf(label);
      if (id !== undefined) return id;
      throw new UserError(`${where}: '${label}' is none of the ${names.length} classes (${names[0]}, …)`);
    });
    return [...new Set(ids)];
  });
  return { classNames: names, images: lines.map(({ image }) => image), targets };
}

function* readJsonLabels(path: string): Generator<LabelLine> {
  const isLabel = (value: unknown) => typeof value === 'string' || typeof value === 'number';
  for (const { value, where } of readJsonLines(path)) {
    const { image = value.picture, label, labels } = value;
    const all = labels === undefined ? [label] : labels;
    if (typeof image !== 'string' || !Array.isArray(all) || all.length === 0 || !all.every(isLabel)) {
      throw new UserError(`${where}: expected {"image": "a.jpg", "label": "…"} or "labels": ["…", "…"]`);
    }
    yield { image, labels: all as (string | number)[], where };
  }
}

function* readTable(path: string): Generator<LabelLine> {
  const [header, ...rows] = readCsv(path);
  const column = (...names: string[]) => {
    const found = header?.fields.findIndex((field) => names.includes(field.trim().toLowerCase())) ?? -1;
    if (found >= 0) return found;
    throw new UserError(`${path}, line 1: expected the columns image and label; '${names[0]}' is missing`);
  };
  const [imageColumn, labelColumn] = [column('image', 'picture'), column('label')];
  for (const { fields, line } of rows) {
    const where = `${path}, line ${line}`;
    const image = fields[imageColumn]?.trim() ?? '';
    const labels = (fields[labelColumn] ?? '').split(SEPARATOR).map((label) => label.trim());
    if (image === '' || labels.includes('')) {
      throw new UserError(`${where}: expected a picture and its label (several are joined by ${SEPARATOR})`);
    }
    yield { image, labels, where };
  }
}

function byCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
