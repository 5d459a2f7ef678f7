import type { AdamWFactors } from '../engine.js';

/** adamw.wat, assembled: a test assembles it again and compares. */
export const adamwModule =
  'AGFzbQEAAAABEQFgDX9/f39/fX19fX19fX0AAwIBAAUDAQAEBxMCBm1lbW9yeQIABnVwZGF0ZQAACrUBAbIBAQN7A0AgAf0ABAAhDSAC/QAEACAF/RP95gEgDSAG/RP95gH95AEhDiAD/QAEACAH/RP95gEgDSAN/eYBIAj9E/3mAf3kASEPIAIgDv0LBAAgAyAP/QsEACAAIAD9AAQAIAr9E/3mASAOIAv9E/3mASAP/eMBIAz9E/3mASAJ/RP95AH95wH95QH9CwQAIABBEGohACABQRBqIQEgAkEQaiECIANBEGohAyAAIARJDQALCw==';

/** Values of each array that the module's memory holds at once; they stay in the processor's second-level cache. */
const BLOCK_SIZE = 16_384;

interface Exports {
  memory: WebAssembly.Memory;
  update(...offsetsAndFactors: number[]): void;
}

const { memory, update } = new WebAssembly.Instance(
  new WebAssembly.Module(Buffer.from(adamwModule, 'base64')),
).exports as Exports;
const blocks = [0, 1, 2, 3].map((i) => new Float32Array(memory.buffer, i * BLOCK_SIZE * 4, BLOCK_SIZE));

/**
 * AdamW on arrays in place, in float32 as torch computes it. One pass over memory with SIMD: recorded as a graph, its
 * fourteen elementwise operations would each read and write a tensor of the parameter's size (measured: three times
 * as long; a plain loop: twice).
 */
export function updateAdamW(
  weight: Float32Array,
  gradient: Float32Array,
  first: Float32Array,
  second: Float32Array,
  { beta1, beta2, epsilon, decay, stepSize, inverseCorrection }: AdamWFactors,
): void {
  const arrays = [weight, gradient, first, second];
  const offsets = blocks.map(({ byteOffset }) => byteOffset);
  for (let begin = 0; begin < weight.length; begin += BLOCK_SIZE) {
    const length = Math.min(BLOCK_SIZE, weight.length - begin);
    for (const [i, array] of arrays.entries()) blocks[i].set(array.subarray(begin, begin + length));
    const end = offsets[0] + length * 4;
    update(...offsets, end, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, decay, stepSize, inverseCorrection);
    for (const i of [0, 2, 3]) arrays[i].set(blocks[i].subarray(0, length), begin);
  }
}
