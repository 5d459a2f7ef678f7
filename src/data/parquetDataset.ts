import { UserError } from '../errors.js';
import { type BytesColumn, ParquetFile } from '../io/parquet/column.js';
import { captionNames, decodeCaption } from './captionValue.js';
import type { Dataset, OpenDatasetOptions } from './dataset.js';
import { rowIn, startsOf } from './groups.js';
import { Growing } from './growing.js';
import { KeyTableBuilder } from './keyTable.js';
import { PairDataset } from './pairDataset.js';
import { IMAGE_FIELD } from './parquetImages.js';
import { filesOfSplit, hasFilesOfSplit, shortNames } from './splitFiles.js';
import { StoredTexts } from './storedTexts.js';

const ENDINGS = ['.parquet'];
const IMAGE_NAMES = ['image', 'img', 'jpg', 'png', 'webp'];
/** Captions are held in memory; a dictionary can make few bytes stand for many. */
const MAX_CAPTION_BYTES = 2 ** 32;

/** Whether a split seems to be Parquet files: by the ending of the path, or by files in the folder. */
export function hasParquetSplit(path: string, split: string): boolean {
  return hasFilesOfSplit(path, split, ENDINGS);
}

/**
 * Opens Parquet files as Hugging Face writes them: a file, several (`part-{0..9}.parquet`), or a folder with
 * `SPLIT-00000-of-00001.parquet` (see filesOfSplit). A column holds the picture, as bytes or as a struct with `bytes`,
 * another its caption or a list of captions; each caption of each row is a pair. Image ids are FILE/ROW, text ids the
 * number of the caption. Captions are read when the dataset is opened, pictures page by page when their turn comes.
 *
 * @throws UserError naming the file where it is damaged, or lacks a column
 */
export async function openParquetDataset(
  path: string,
  { split, columns, shuffleBuffer, warn }: OpenDatasetOptions,
): Promise<Dataset> {
  const paths = filesOfSplit(path, split, ENDINGS);
  const names = shortNames(paths);
  const texts = new KeyTableBuilder();
  const imageRows = new Growing((length) => new Int32Array(length));
  const groups = new Growing((length) => new Int32Array(length));
  const counts: number[] = [];
  let images = 0;
  let captionBytes = 0;
  let without = 0;
  let imageColumn: string | undefined;
  for (const file of paths.map((each) => new ParquetFile(each))) {
    const found = columnOf(file, 'image', imageColumn ?? columns.image, IMAGE_NAMES);
    if (found.column.maxRepetition > 0) throw new UserError(`${file.path}: column ${found.name} is a list`);
    // All files are read by one name.
    imageColumn = found.name;
    const { column } = columnOf(file, 'text', columns.text, captionNames);
    const ends = groupEnds(file);
    let group = 0;
    let startsGroup = true;
    let row = 0;
    for (const captions of file.rows(column)) {
      for (; row >= ends[group]; group++) startsGroup = true;
      if (captions.length === 0) without++;
      for (const bytes of captions) {
        captionBytes += bytes.length;
        if (captionBytes > MAX_CAPTION_BYTES) {
          throw new UserError(`${file.path}: captions of more than 4 GiB; open fewer files`);
        }
        texts.add(decodeCaption(bytes, `${file.path}, row ${row}`));
        if (startsGroup) groups.push(imageRows.length);
        startsGroup = false;
        imageRows.push(images + row);
      }
      row++;
    }
    counts.push(row);
    images += row;
  }
  if (imageRows.length === 0) throw new UserError(`${path}: there is no row with a caption`);
  if (without > 0) warn(`${path}: ${without} rows have no caption; they are no pairs`);
  const rowStarts = startsOf(counts);
  const pairRows = imageRows.values();
  const imageId = (row: number) => {
    const { group, index } = rowIn(rowStarts, row);
    return `${names[group]}/${index}`;
  };
  return new PairDataset({
    location: path,
    imageSource: { kind: 'parquet', paths, rowStarts, column: imageColumn! },
    imageCount: images,
    imageId,
    texts: new StoredTexts(texts.build(), pairRows, imageId),
    pairs: { imageRows: pairRows, textRows: Int32Array.from(pairRows.keys()) },
    unpairedTextCount: 0,
    groups: groups.values(),
    shuffleBuffer,
  });
}

/** Where each row group ends. */
function groupEnds({ footer }: ParquetFile): number[] {
  let end = 0;
  return footer.rowGroups.map(({ rowCount }) => {
    end += rowCount;
    return end;
  });
}

function columnOf(
  file: ParquetFile,
  what: 'image' | 'text',
  given: string | undefined,
  usual: readonly string[],
): { name: string; column: BytesColumn } {
  for (const name of given === undefined ? usual : [given]) {
    const column = file.column(name, IMAGE_FIELD);
    if (column !== undefined) return { name, column };
  }
  const expected = given === undefined ? `one of ${usual.join(', ')}` : `"${given}"`;
  const holds = what === 'image' ? 'bytes, or a struct with bytes' : 'text, or a list of texts';
  const there = file.footer.columns.map(({ name }) => name);
  throw new UserError(
    `${file.path}: no column for the ${what}: expected ${expected} with ${holds}; there are ` +
      `${there.join(', ').slice(0, 300)} (name it with columns: { ${what}: … })`,
  );
}
