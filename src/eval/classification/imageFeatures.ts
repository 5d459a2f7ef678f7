import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { filesAnywhere } from '../../data/fileImages.js';
import type { Reporter } from '../../io/terminal.js';
import { encodeRows, type ImageEncoding } from '../encodeRows.js';
import { FeatureFile } from '../features/featureFile.js';
import type { ClassificationDataset } from './dataset.js';

/**
 * Normalised features of all pictures of a dataset, in its order: Float32Array [images, embed_dim]. What is done is
 * kept in `partial`, under `key`, and a run that was stopped goes on from there.
 *
 * @param key changes with all that the features depend on, 64 hexadecimal digits
 * @throws UserError naming a picture that can't be read or decoded
 */
export async function encodePictures(
  encoding: ImageEncoding,
  { name, folder, images }: ClassificationDataset,
  partial: string,
  key: string,
  reporter: Reporter,
): Promise<Float32Array> {
  mkdirSync(dirname(partial), { recursive: true });
  const file = new FeatureFile(partial, key, encoding.model.config.embed_dim);
  try {
    // Class folders may be links to anywhere; a labels file was held to its folder when it was read.
    const source = filesAnywhere(folder, images);
    const encode = (begin: number) => encodeRows(encoding, source, begin, images.length, true);
    await file.fill(`${name}: pictures`, images.length, encoding.batchSize, encode, reporter);
    return file.read(0, images.length);
  } finally {
    file.close();
  }
}
