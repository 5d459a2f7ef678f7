import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.js';
import type { Dataset, ImageSource, TextRecord } from './dataset.js';
import { indexLines, MAX_KEY_BYTES } from './lineIndex.js';
import { LineReader } from './lineReader.js';
import type { Problems } from './problems.js';
import { namesIn } from './readFolder.js';
import { TextTable } from './textTable.js';
import { IMAGES, TEXTS } from './tsvDataset.js';

/** A split as a check reads it: what can't be read is told, and the rest goes on. */
export interface SplitContent {
  /** undefined where there are none to check */
  images?: {
    count: number;
    source: ImageSource;
    /** @throws UserError where the row can't be read */
    id(row: number): string;
    /** for messages */
    where(row: number): string;
  };
  texts?: {
    count: number;
    /** each text, or what is wrong with it */
    records(): Generator<TextRecord | UserError>;
    where(row: number): string;
  };
  close(): void;
}

/** Names of the splits in the reference's form of which at least one file is in a folder, in order. */
export function tsvSplits(directory: string): string[] {
  const names = namesIn(directory).flatMap((file) =>
    [IMAGES, TEXTS].filter((end) => file.endsWith(end)).map((end) => file.slice(0, -end.length)),
  );
  return [...new Set(names)].filter((name) => name !== '').sort();
}

/**
 * The lines of a split in the reference's form, each by itself: memory is that of one line and of where lines start.
 * A file that is missing or empty is a problem, and the other one is read all the same.
 */
export function openTsvContent(directory: string, split: string, problems: Problems): SplitContent {
  const lines = (end: string): LineReader | undefined => {
    const path = join(directory, split + end);
    try {
      if (!existsSync(path)) throw new UserError(`${path}: is missing`);
      const { starts, lineCount } = indexLines(path);
      if (lineCount === 0) throw new UserError(`${path}: the file is empty`);
      return new LineReader(path, starts);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      problems.add('files', error.message);
      return undefined;
    }
  };
  const images = lines(IMAGES);
  const texts = lines(TEXTS);
  const table = texts && new TextTable(texts.path, texts.starts);
  return {
    images: images && {
      count: images.lineCount,
      source: { kind: 'tsv', path: images.path, starts: images.starts },
      id: (row) => {
        const start = images.readStart(row, MAX_KEY_BYTES + 1);
        const tab = start.indexOf('\t');
        if (tab < 1)
          throw new UserError(`${images.where(row)}: no TAB after an id; expected "id TAB base64"`);
        return start.toString('utf8', 0, tab);
      },
      where: (row) => images.where(row),
    },
    texts: table && {
      count: table.textCount,
      *records() {
        for (let row = 0; row < table.textCount; row++) {
          try {
            yield table.read(row);
          } catch (error) {
            if (!(error instanceof UserError)) throw error;
            yield error;
          }
        }
      },
      where: (row) => table.where(row),
    },
    close() {
      images?.close();
      texts?.close();
      table?.close();
    },
  };
}

/** What any other source gives once it is open: opening has checked ids and join, or thrown. */
export function datasetContent(dataset: Dataset): SplitContent {
  return {
    images: {
      count: dataset.imageCount,
      source: dataset.imageSource,
      id: (row) => String(dataset.imageId(row)),
      where: (row) => `${dataset.location}, image ${dataset.imageId(row)}`,
    },
    texts: {
      count: dataset.textCount,
      *records() {
        try {
          yield* dataset.texts();
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          yield error;
        }
      },
      where: (row) => `${dataset.location}, text ${row + 1}`,
    },
    close: () => dataset.close(),
  };
}
