import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { pictureDone } from '../src/data/garbage.js';
import { decodeImage } from '../src/image/decode.js';
import { resizeToRgb } from '../src/image/preprocess.js';

/** Prints the processor's seconds, of all threads, of passes over the pictures of a folder, decoded and resized as an image worker does it. */
const [folder, size] = process.argv.slice(2);
sharp.concurrency(1);
sharp.cache(false);
const pictures = readdirSync(folder)
  .sort()
  .map((name) => readFileSync(join(folder, name)));
const resized = new Uint8Array(3 * Number(size) ** 2);
for (let pass = 0; pass < 15; pass++) {
  const began = process.cpuUsage();
  for (const bytes of pictures) {
    resizeToRgb(await decodeImage(bytes, 'picture'), Number(size), resized);
    pictureDone();
  }
  // Ten passes to warm up: by then WebAssembly runs as it was optimised.
  const { user, system } = process.cpuUsage(began);
  if (pass >= 10) console.log((user + system) / 1e6);
}
