/** A 64-bit hash as two words. */
export interface Hash {
  high: number;
  low: number;
}

/**
 * Numbers hashes in the order in which they first occur. About 30 bytes an entry, whatever was hashed: a million texts
 * or ids need no million strings. Two things with equal hashes are taken for one, which among ten million happens with
 * a probability of 3·10⁻⁶.
 */
export class HashTable {
  /** Of each slot: the hash's words, and its number plus one (0: the slot is free). Length is a power of two. */
  #high = new Uint32Array(1024);
  #low = new Uint32Array(1024);
  #numbers = new Int32Array(1024);
  #size = 0;

  /** How many different hashes were added. */
  get size(): number {
    return this.#size;
  }

  /** The number of a hash, from 0; it gets the next one, `size`, if it is new. */
  add(hash: Hash): number {
    const slot = this.#slotOf(hash);
    if (this.#numbers[slot] > 0) return this.#numbers[slot] - 1;
    this.#high[slot] = hash.high;
    this.#low[slot] = hash.low;
    this.#numbers[slot] = ++this.#size;
    if (this.#size * 2 > this.#numbers.length) this.#grow();
    return this.#size - 1;
  }

  /** The number of a hash, or undefined if it was never added. */
  find(hash: Hash): number | undefined {
    const number = this.#numbers[this.#slotOf(hash)];
    return number > 0 ? number - 1 : undefined;
  }

  /** Where a hash is, or the free slot where it belongs: the first one from its place on. */
  #slotOf({ high, low }: Hash): number {
    const mask = this.#numbers.length - 1;
    let slot = low & mask;
    while (this.#numbers[slot] > 0 && (this.#low[slot] !== low || this.#high[slot] !== high)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(): void {
    const [high, low, numbers] = [this.#high, this.#low, this.#numbers];
    this.#high = new Uint32Array(high.length * 2);
    this.#low = new Uint32Array(high.length * 2);
    this.#numbers = new Int32Array(high.length * 2);
    for (const [i, number] of numbers.entries()) {
      if (number === 0) continue;
      const slot = this.#slotOf({ high: high[i], low: low[i] });
      this.#high[slot] = high[i];
      this.#low[slot] = low[i];
      this.#numbers[slot] = number;
    }
  }
}

/** A 64-bit hash of a text's UTF-16 units: two streams of multiply and rotate, each ended as in MurmurHash3. */
export function hashText(text: string): Hash {
  let a = 0x9e3779b9 ^ text.length;
  let b = 0x85ebca6b ^ text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(((a << 13) | (a >>> 19)) ^ unit, 0xcc9e2d51);
    b = Math.imul(((b << 15) | (b >>> 17)) ^ unit, 0x1b873593);
  }
  const high = mix(a);
  return { high, low: mix(b ^ high) };
}

/** The finalizer of MurmurHash3: each bit of the input changes half of the output's. */
function mix(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
