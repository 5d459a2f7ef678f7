type NumberArray = Float64Array | Int32Array | Uint32Array | Uint8Array;

/** A typed array that grows by doubling, for collecting values whose number is not known before. */
export class Growing<A extends NumberArray> {
  #array: A;
  #length = 0;

  constructor(readonly create: (length: number) => A) {
    this.#array = create(1024);
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    this.#reserve(1);
    this.#array[this.#length++] = value;
  }

  append(values: ArrayLike<number>): void {
    this.#reserve(values.length);
    this.#array.set(values, this.#length);
    this.#length += values.length;
  }

  at(index: number): number {
    return this.#array[index];
  }

  /** The values collected, in an array of their size. */
  values(): A {
    return this.#array.slice(0, this.#length) as A;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#array.length) return;
    const grown = this.create(Math.max(needed, this.#array.length * 2));
    grown.set(this.#array);
    this.#array = grown;
  }
}

/** A copy in shared memory, which threads are given without another copy. */
export function shared<A extends NumberArray>(values: A): A {
  const create = values.constructor as new (buffer: SharedArrayBuffer) => A;
  const copy = new create(new SharedArrayBuffer(values.byteLength));
  copy.set(values);
  return copy;
}
