import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Image } from './resize.js';

/** What @cornerstonejs/codec-libjpeg-turbo-8bit, libjpeg-turbo in WebAssembly, exports. */
interface Decoder {
  /** Memory for a file of this length. */
  getEncodedBuffer(length: number): Uint8Array;
  /** Throws where libjpeg-turbo so much as warns. */
  decode(): void;
  /** A view of memory that the next picture overwrites. */
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { width: number; height: number; componentCount: number };
  delete(): void;
}

interface Module {
  JPEGDecoder: new () => Decoder;
}

/** Larger pictures are left to sharp: memory that WebAssembly took is not given back. */
const MAX_PIXELS = 16_777_216;

const require = createRequire(import.meta.url);
const PACKAGE = '@cornerstonejs/codec-libjpeg-turbo-8bit';
let started: Promise<Decoder> | undefined;

async function start(): Promise<Decoder> {
  const createModule = require(`${PACKAGE}/decodewasmjs`) as (options: object) => Promise<Module>;
  const { JPEGDecoder } = await createModule({
    wasmBinary: readFileSync(require.resolve(`${PACKAGE}/decodewasm`)),
    print: () => {},
    printErr: () => {},
  });
  return new JPEGDecoder();
}

/**
 * Decodes a JPEG file of one or three components to RGB with libjpeg-turbo, as Pillow and sharp do, to the bit, but in a
 * third of sharp's time: nothing of libvips' threads and pipeline is between. A file that the decoder finds anything to
 * say of is left to sharp, whose word counts.
 *
 * @param pixels of the frame header
 * @returns a function that decodes it, into memory that the next picture overwrites; it gives undefined where the file
 * is damaged or unusual. Undefined itself for a large picture.
 */
export async function turboJpeg(
  bytes: Uint8Array,
  pixels: number,
): Promise<(() => Image | undefined) | undefined> {
  if (pixels > MAX_PIXELS) return undefined;
  started ??= start();
  const decoder = await started;
  return () => decode(decoder, bytes);
}

function decode(decoder: Decoder, bytes: Uint8Array): Image | undefined {
  try {
    decoder.getEncodedBuffer(bytes.length).set(bytes);
    decoder.decode();
    const { width, height } = decoder.getFrameInfo();
    const data = decoder.getDecodedBuffer();
    return data.length === width * height * 3 ? { width, height, channels: 3, data } : undefined;
  } catch {
    // What it held when it threw is lost with its memory.
    started = undefined;
    return undefined;
  }
}
