import type { ImageReader, ImageSource } from './dataset.js';
import { FileImages } from './fileImages.js';
import { TsvImages } from './tsvImages.js';

/** Opens the pictures of a dataset, in any thread. @throws UserError where their files can't be opened */
export function openImages(source: ImageSource): ImageReader {
  switch (source.kind) {
    case 'tsv':
      return new TsvImages(source.path, source.starts);
    case 'files':
      return new FileImages(source.paths);
  }
}
