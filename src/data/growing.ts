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
    if (this.#length === this.#array.length) {
      const grown = this.create(this.#length * 2);
      grown.set(this.#array);
      this.#array = grown;
    }
    this.#array[this.#length++] = value;
  }

  at(index: number): number {
    return this.#array[index];
  }

  /** The values collected, in an array of their size. */
  values(): A {
    return this.#array.slice(0, this.#length) as A;
  }
}

/** A copy in shared memory, which threads are given without another copy. */
export function shared<A extends NumberArray>(values: A): A {
  const create = values.constructor as new (buffer: SharedArrayBuffer) => A;
  const copy = new create(new SharedArrayBuffer(values.byteLength));
  copy.set(values);
  return copy;
}
