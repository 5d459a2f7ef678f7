import type { Random } from '../src/random.js';

/** Values at which arithmetic on sizes and offsets goes wrong. */
const TELLING = [0n, 1n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** One or several random changes to a file. */
export function mutate(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (let changes = 1 + random.integer(3); changes > 0; changes--) result = change(result, others, random);
  return result;
}

function change(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  const at = random.integer(bytes.length + 1);
  const length = 1 + random.integer(16);
  const [before, rest] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (random.integer(8)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] ^= 1 << random.integer(8);
      return flipped;
    }
    case 1: {
      const set = Buffer.from(bytes);
      if (at < set.length) set[at] = random.integer(256);
      return set;
    }
    case 2:
      return Buffer.concat([before, Buffer.from(Array.from({ length }, () => random.integer(256))), rest]);
    case 3:
      return Buffer.concat([before, rest.subarray(length)]);
    case 4:
      return Buffer.concat([before, rest.subarray(0, length), rest]);
    case 5:
      return Buffer.from(before);
    case 6: {
      const other = others[random.integer(others.length)];
      return Buffer.concat([before, other.subarray(random.integer(other.length + 1))]);
    }
    default: {
      const field = Buffer.alloc(8);
      field.writeBigUInt64LE(TELLING[random.integer(TELLING.length)]);
      const width = [1, 2, 4, 8][random.integer(4)];
      return Buffer.concat([before, field.subarray(0, width), rest.subarray(width)]);
    }
  }
}
