import type { Image } from './resize.js';

/** resample.wat, assembled: a test assembles it again and compares. */
export const resampleModule =
  'AGFzbQEAAAABFwJgCX9/f39/f39/fwBgB39/f39/f38AAwMCAAEFAwEAAQcbAwZtZW1vcnkCAARyb3dzAAAHY29sdW1ucwABCpUGAqUCAgZ/BHsgBSAEQQJ0aiEKIAhBAXQhDv0MAP8D/wH/BP8C/wX///////0MAP8E/wH/Bf8C/wb/A/8H/yAIQQNGGyEPA0AgBSEJIAYhCwNAIAAgCSgCAGohDSALIAdBA3RqIQz9DAAAAAAAAAAAAAAAAAAAAAAhEf0MAAAgAAAAIAAAACAAAAAgACESA0AgDf1dAwAgD/0OIRAgESAQIAv9CQIA/boB/a4BIREgEiAQIAv9CQIE/boB/a4BIRIgDSAOaiENIAtBCGohCyALIAxJDQALIBFBDP2rASAS/a4BQRb9rAEhESARIBH9hQEhESADIBEgEf1m/VoCAAAgAyAIaiEDIAlBBGohCSAJIApJDQALIAAgAWohACACQQFrIQIgAg0ACwvrAwIFfw57IAQgA0ECdGohBwNAIAUgBkEDdGohCkEAIQgDQCAAIAQoAgBqIAhqIQsgBSEJ/QwAAAAAAAAAAAAAAAAAAAAAIRIgEiETIBIhFCASIRX9DAAAIAAAACAAAAAgAAAAIAAhFiAWIRcgFiEYIBYhGQNAIAn9CQIAIQwgCf0JAgQhDSAL/QAEACEOIAsgAWr9AAQAIQ8gDiAP/Q0AEAERAhIDEwQUBRUGFgcXIRAgEP2JASERIBIgESAM/boB/a4BIRIgFiARIA39ugH9rgEhFiAQ/YoBIREgEyARIAz9ugH9rgEhEyAXIBEgDf26Af2uASEXIA4gD/0NCBgJGQoaCxsMHA0dDh4PHyEQIBD9iQEhESAUIBEgDP26Af2uASEUIBggESAN/boB/a4BIRggEP2KASERIBUgESAM/boB/a4BIRUgGSARIA39ugH9rgEhGSALIAFBAXRqIQsgCUEIaiEJIAkgCkkNAAsgAiAIaiASQQz9qwEgFv2uAUEW/awBIBNBDP2rASAX/a4BQRb9rAH9hQEgFEEM/asBIBj9rgFBFv2sASAVQQz9qwEgGf2uAUEW/awB/YUB/Wb9CwQAIAhBEGohCCAIIAFJDQALIAohBSACIAFqIQIgBEEEaiEEIAQgB0kNAAsL';

/** How one axis is resampled, as resample.wat reads it. */
export interface AxisWeights {
  /** Input position that each output position's sum begins at. */
  starts: Int32Array;
  /** Pairs of weights of each output position. */
  pairs: number;
  /** [output, pairs, 4]: the upper parts of both weights, then the lower ones. */
  weights: Int16Array;
}

interface Exports {
  memory: WebAssembly.Memory;
  rows(...args: number[]): void;
  columns(...args: number[]): void;
}

const PAGE = 65_536;
/** Rows are copied in such parts: they stay in the processor's second-level cache. */
const ROWS_AT_ONCE = 4 * PAGE;
/** Memory beyond this, for a picture of extreme height, is given back after it. */
const KEPT_MEMORY = 64 * 2 ** 20;
/** What the module may read or write past the end. */
const SLACK = 32;

const compiled = new WebAssembly.Module(Buffer.from(resampleModule, 'base64'));
const instantiate = () => new WebAssembly.Instance(compiled).exports as Exports;
let kept = instantiate();

/**
 * Resamples rows with `horizontal`, then columns with `vertical`, rounding to 8 bits between the two; undefined
 * leaves an axis as it is. In WebAssembly for its SIMD.
 *
 * @param image 3 or 4 channels
 * @param out where the result goes, if it fits there exactly; by default into new memory
 */
export function resample(
  image: Image,
  horizontal: AxisWeights | undefined,
  vertical: AxisWeights | undefined,
  out?: Uint8Array,
): Image {
  const { channels, data } = image;
  const width = horizontal?.starts.length ?? image.width;
  const height = vertical?.starts.length ?? image.height;
  const inputStride = image.width * channels;
  const stride = width * channels;
  let end = 0;
  const reserve = (bytes: number) => {
    const offset = end;
    end = Math.ceil((end + bytes + SLACK) / 16) * 16;
    return offset;
  };
  const tables = [horizontal, vertical].map((axis) =>
    axis ? { starts: reserve(axis.starts.byteLength), weights: reserve(axis.weights.byteLength) } : undefined,
  );
  const rowsAtOnce = Math.max(Math.floor(ROWS_AT_ONCE / inputStride), 1);
  const part = reserve(horizontal ? Math.min(rowsAtOnce, image.height) * inputStride : 0);
  // The sums of the last rows may begin with a pair whose second row, of weight 0, lies past the end.
  const between = reserve((image.height + 1) * stride);
  const output = vertical ? reserve(height * stride) : between;

  const { memory, rows, columns } = kept;
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  if (end > KEPT_MEMORY) kept = instantiate();
  const bytes = new Uint8Array(memory.buffer);
  const store = (axis: AxisWeights, at: { starts: number; weights: number }, step: number) => {
    new Int32Array(memory.buffer, at.starts, axis.starts.length).set(
      axis.starts.map((start) => start * step),
    );
    new Int16Array(memory.buffer, at.weights, axis.weights.length).set(axis.weights);
  };

  if (horizontal && tables[0]) {
    store(horizontal, tables[0], channels);
    const { starts, weights } = tables[0];
    for (let row = 0; row < image.height; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, image.height - row);
      bytes.set(data.subarray(row * inputStride, (row + count) * inputStride), part);
      const to = between + row * stride;
      rows(part, inputStride, count, to, width, starts, weights, horizontal.pairs, channels);
    }
  } else {
    bytes.set(data, between);
  }
  if (vertical && tables[1]) {
    store(vertical, tables[1], stride);
    columns(between, stride, output, height, tables[1].starts, tables[1].weights, vertical.pairs);
  }
  const result = bytes.subarray(output, output + height * stride);
  if (out?.length !== result.length) return { width, height, channels, data: result.slice() };
  out.set(result);
  return { width, height, channels, data: out };
}
