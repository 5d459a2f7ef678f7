import type { Image } from './resize.js';

/** resample.wat, assembled: a test assembles it again and compares. */
export const resampleModule =
  'AGFzbQEAAAABGQJgCn9/f39/f39/f38AYAh/f39/f39/fwADAwIAAQUDAQABBxsDBm1lbW9yeQIABHJvd3MAAAdjb2x1bW5zAAEK3ggC7gQCDX8MeyAGIAVBAnRqIQsgCUEBdCEO/QwA/wP/Af8E/wL/Bf///////QwA/wT/Af8F/wL/Bv8D/wf/IAlBA0YbIRcDQCAGIQogByEMIAMhEyATIARqIRQgFCAEaiEVIBUgBGohFgNAIAAgCigCAGohDyAPIAFqIRAgECABaiERIBEgAWohEiAMIAhBA3RqIQ39DAAAAAAAAAAAAAAAAAAAAAAhGyAbIRwgGyEdIBshHv0MAAAgAAAAIAAAACAAAAAgACEfIB8hICAfISEgHyEiA0AgDP0JAgAhGCAM/QkCBCEZIA/9XQMAIBf9DiEaIBsgGiAY/boB/a4BIRsgHyAaIBn9ugH9rgEhHyAPIA5qIQ8gEP1dAwAgF/0OIRogHCAaIBj9ugH9rgEhHCAgIBogGf26Af2uASEgIBAgDmohECAR/V0DACAX/Q4hGiAdIBogGP26Af2uASEdICEgGiAZ/boB/a4BISEgESAOaiERIBL9XQMAIBf9DiEaIB4gGiAY/boB/a4BIR4gIiAaIBn9ugH9rgEhIiASIA5qIRIgDEEIaiEMIAwgDUkNAAsgG0EM/asBIB/9rgFBFv2sASAcQQz9qwEgIP2uAUEW/awB/YUBIB1BDP2rASAh/a4BQRb9rAEgHkEM/asBICL9rgFBFv2sAf2FAf1mIRogEyAa/VoCAAAgFCAa/VoCAAEgFSAa/VoCAAIgFiAa/VoCAAMgEyAJaiETIBQgCWohFCAVIAlqIRUgFiAJaiEWIApBBGohCiAKIAtJDQALIAMgBEECdGohAyAAIAFBAnRqIQAgAkEEayECIAJBAEoNAAsL6wMCBX8OeyAFIARBAnRqIQgDQCAGIAdBA3RqIQtBACEJA0AgACAFKAIAaiAJaiEMIAYhCv0MAAAAAAAAAAAAAAAAAAAAACETIBMhFCATIRUgEyEW/QwAACAAAAAgAAAAIAAAACAAIRcgFyEYIBchGSAXIRoDQCAK/QkCACENIAr9CQIEIQ4gDP0ABAAhDyAMIAFq/QAEACEQIA8gEP0NABABEQISAxMEFAUVBhYHFyERIBH9iQEhEiATIBIgDf26Af2uASETIBcgEiAO/boB/a4BIRcgEf2KASESIBQgEiAN/boB/a4BIRQgGCASIA79ugH9rgEhGCAPIBD9DQgYCRkKGgsbDBwNHQ4eDx8hESAR/YkBIRIgFSASIA39ugH9rgEhFSAZIBIgDv26Af2uASEZIBH9igEhEiAWIBIgDf26Af2uASEWIBogEiAO/boB/a4BIRogDCABQQF0aiEMIApBCGohCiAKIAtJDQALIAIgCWogE0EM/asBIBf9rgFBFv2sASAUQQz9qwEgGP2uAUEW/awB/YUBIBVBDP2rASAZ/a4BQRb9rAEgFkEM/asBIBr9rgFBFv2sAf2FAf1m/QsEACAJQRBqIQkgCSADSQ0ACyALIQYgAiADaiECIAVBBGohBSAFIAhJDQALCw==';

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
/** Rows are copied in parts of about this many bytes: they stay in the processor's second-level cache. */
const ROWS_AT_ONCE = 4 * PAGE;
/** The module takes this many rows side by side, the last ones with rows beyond the end. */
const ROWS_IN_STEP = 4;
/** Memory beyond this, for a picture of extreme height, is given back after it. */
const KEPT_MEMORY = 64 * 2 ** 20;
/** What the module may read or write past the end. */
const SLACK = 32;

const compiled = new WebAssembly.Module(Buffer.from(resampleModule, 'base64'));
const instantiate = () => new WebAssembly.Instance(compiled).exports as Exports;
let kept = instantiate();

/**
 * Resamples rows with `horizontal`, then columns with `vertical`, rounding to 8 bits between the two. In WebAssembly for
 * its SIMD.
 *
 * @param image 3 or 4 channels
 * @param out where the result goes, if it fits there exactly; by default into new memory
 */
export function resample(
  image: Image,
  horizontal: AxisWeights,
  vertical: AxisWeights,
  out?: Uint8Array,
): Image {
  const { channels, data } = image;
  const width = horizontal.starts.length;
  const height = vertical.starts.length;
  const inputStride = image.width * channels;
  const rowBytes = width * channels;
  const stride = Math.ceil((rowBytes + 1) / 16) * 16;
  let end = 0;
  const reserve = (bytes: number) => {
    const offset = end;
    end = Math.ceil((end + bytes + SLACK) / 16) * 16;
    return offset;
  };
  const reserveTables = (axis: AxisWeights) => ({
    starts: reserve(axis.starts.byteLength),
    weights: reserve(axis.weights.byteLength),
  });
  const across = reserveTables(horizontal);
  const down = reserveTables(vertical);
  const rowsAtOnce = Math.max(Math.floor(ROWS_AT_ONCE / inputStride / ROWS_IN_STEP), 1) * ROWS_IN_STEP;
  const inSteps = Math.ceil(image.height / ROWS_IN_STEP) * ROWS_IN_STEP;
  const part = reserve(Math.min(rowsAtOnce, inSteps) * inputStride);
  // The sums of the last rows may begin with a pair whose second row, of weight 0, lies past the end.
  const between = reserve((inSteps + 1) * stride);
  const output = reserve(height * rowBytes);

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

  store(horizontal, across, channels);
  for (let row = 0; row < image.height; row += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, image.height - row);
    bytes.set(data.subarray(row * inputStride, (row + count) * inputStride), part);
    const to = between + row * stride;
    const { starts, weights } = across;
    rows(part, inputStride, count, to, stride, width, starts, weights, horizontal.pairs, channels);
  }
  store(vertical, down, stride);
  columns(between, stride, output, rowBytes, height, down.starts, down.weights, vertical.pairs);
  const result = bytes.subarray(output, output + height * rowBytes);
  if (out?.length !== result.length) return { width, height, channels, data: result.slice() };
  out.set(result);
  return { width, height, channels, data: out };
}
