/**
 * Seeded random numbers: Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * 2011), the counter-based generator that JAX uses too. A stream is a pure function of its key, so anything that can
 * be named (seed, epoch, parameter) has its own stream, and resuming needs no saved generator state.
 */
export class Random {
  readonly #key = new Uint32Array(2);
  readonly #words = new Uint32Array(2);
  #block = 0;
  #wordsLeft = 0;
  #spareNormal: number | undefined;

  /**
   * @param key integers (safe ones) and strings that name the stream; different lists give unrelated streams
   * @throws RangeError for a number that is no safe integer
   */
  constructor(...key: readonly (number | string)[]) {
    for (const part of key) this.#absorb(part);
  }

  /** A whole number in [0, 2³²). */
  word(): number {
    if (this.#wordsLeft === 0) {
      threefry(this.#key, this.#block, Math.floor(this.#block / 2 ** 32), this.#words);
      this.#block++;
      this.#wordsLeft = 2;
    }
    return this.#words[2 - this.#wordsLeft--];
  }

  /** Uniform in [0, 1), in steps of 2⁻³². */
  uniform(): number {
    return this.word() * 2 ** -32;
  }

  /** Standard normal (Box–Muller), at most 6.7 in magnitude. */
  normal(): number {
    const spare = this.#spareNormal;
    if (spare !== undefined) {
      this.#spareNormal = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log((this.word() + 1) * 2 ** -32));
    const angle = 2 * Math.PI * this.uniform();
    this.#spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /**
   * A whole number in [0, n), every one equally likely.
   *
   * @throws RangeError unless n is a whole number in [1, 2³²]
   */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`integer(n) needs a whole number from 1 to 2^32, got ${n}`);
    }
    // Words above the last multiple of n would favour small results: draw again.
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const word = this.word();
      if (word < limit) return word % n;
    }
  }

  /** Shuffles in place, every order equally likely (Fisher–Yates), and returns the array. */
  shuffle<T extends { readonly length: number; [index: number]: number }>(values: T): T {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const swapped = values[i];
      values[i] = values[j];
      values[j] = swapped;
    }
    return values;
  }

  /** Makes the key depend on one more part. A string is its length, under a mark no integer has, then its units. */
  #absorb(part: number | string): void {
    if (typeof part === 'number') {
      if (!Number.isSafeInteger(part)) throw new RangeError(`random keys are whole numbers, got ${part}`);
      threefry(this.#key, part, Math.floor(part / 2 ** 32), this.#key);
      return;
    }
    threefry(this.#key, part.length, 0x80000000, this.#key);
    for (let i = 0; i < part.length; i++) threefry(this.#key, part.charCodeAt(i), 0, this.#key);
  }
}

/**
 * Threefry-2x32-20: enciphers the counter block (x0, x1) under a key of two words into `output` (which may be the
 * key itself).
 */
export function threefry(key: Uint32Array, x0: number, x1: number, output: Uint32Array): void {
  // Key words in the order of their use: each group of four rounds ends by adding the next two.
  let s0 = key[0] | 0;
  let s1 = key[1] | 0;
  let s2 = 0x1bd11bda ^ s0 ^ s1;
  let a = (x0 + s0) | 0;
  let b = (x1 + s1) | 0;
  for (let group = 1; group <= 5; group++) {
    const even = group % 2 === 0;
    a = (a + b) | 0;
    b = rotateLeft(b, even ? 17 : 13) ^ a;
    a = (a + b) | 0;
    b = rotateLeft(b, even ? 29 : 15) ^ a;
    a = (a + b) | 0;
    b = rotateLeft(b, even ? 16 : 26) ^ a;
    a = (a + b) | 0;
    b = rotateLeft(b, even ? 24 : 6) ^ a;
    [s0, s1, s2] = [s1, s2, s0];
    a = (a + s0) | 0;
    b = (b + s1 + group) | 0;
  }
  output[0] = a;
  output[1] = b;
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
