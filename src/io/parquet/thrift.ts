/**
 * Reads Thrift's compact protocol, in which Parquet keeps its footer and page headers. Fields are taken one after the
 * other; nothing is built but what is asked for, and no length is believed beyond the bytes there are.
 *
 * Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */
export class CompactReader {
  #depth = 0;

  constructor(
    readonly bytes: Buffer,
    public position = 0,
  ) {}

  /**
   * Reads a struct. `field` is called with each field's id and reads its value with the methods below; a field that it
   * does not read is passed over.
   *
   * @throws RangeError where the bytes end, TypeError for a field of another type than is read
   */
  struct(field: (id: number) => void): void {
    if (++this.#depth > MAX_DEPTH) throw new RangeError('nested too deep');
    let id = 0;
    for (;;) {
      const byte = this.#byte();
      this.#type = byte & 0x0f;
      if (this.#type === STOP) break;
      const step = byte >> 4;
      id = step === 0 ? this.#zigzag() : id + step;
      this.#unread = true;
      field(id);
      if (this.#unread) this.#skip(this.#type);
    }
    this.#unread = false;
    this.#depth--;
  }

  /** A whole number of 16, 32 or 64 bits. @throws RangeError beyond 2⁵³ − 1 */
  integer(): number {
    this.#take(I16, I32, I64);
    return this.#zigzag();
  }

  boolean(): boolean {
    const type = this.#take(TRUE, FALSE);
    return type === TRUE;
  }

  text(): string {
    this.#take(BINARY);
    return this.#binary().toString('utf8');
  }

  /** Reads the field as a struct. */
  child(field: (id: number) => void): void {
    this.#take(STRUCT);
    this.struct(field);
  }

  /** Reads a list whose elements `element` reads, as if each were a field. */
  list(element: () => void): void {
    this.#take(LIST);
    const { count, type } = this.#listHeader();
    for (let i = 0; i < count; i++) {
      this.#type = type;
      this.#unread = true;
      element();
      if (this.#unread) this.#skip(type);
    }
  }

  /** Type of the field or element whose turn it is, and whether its value was read. */
  #type = STOP;
  #unread = false;

  #take(...expected: number[]): number {
    if (!this.#unread || !expected.includes(this.#type)) {
      throw new TypeError(`a field of type ${this.#type}, expected ${expected.join(' or ')}`);
    }
    this.#unread = false;
    return this.#type;
  }

  #skip(type: number): void {
    this.#unread = false;
    if (type === TRUE || type === FALSE) return;
    if (type === BYTE) this.#advance(1);
    else if (type === I16 || type === I32 || type === I64) this.#varint();
    else if (type === DOUBLE) this.#advance(8);
    else if (type === BINARY) this.#binary();
    else if (type === STRUCT) this.struct(() => {});
    else if (type === LIST || type === SET) {
      if (++this.#depth > MAX_DEPTH) throw new RangeError('nested too deep');
      const { count, type: element } = this.#listHeader();
      for (let i = 0; i < count; i++) {
        // In a list a boolean takes a byte.
        this.#skip(element === TRUE || element === FALSE ? BYTE : element);
      }
      this.#depth--;
    } else throw new TypeError(`a field of type ${type}`);
  }

  #listHeader(): { count: number; type: number } {
    const byte = this.#byte();
    const count = byte >> 4 === 15 ? this.#varint() : byte >> 4;
    // Each element takes a byte at least.
    if (count > this.bytes.length - this.position) throw new RangeError('a list is cut off');
    return { count, type: byte & 0x0f };
  }

  #binary(): Buffer {
    const length = this.#varint();
    const start = this.position;
    this.#advance(length);
    return this.bytes.subarray(start, start + length);
  }

  #byte(): number {
    this.#advance(1);
    return this.bytes[this.position - 1];
  }

  #advance(length: number): void {
    if (length > this.bytes.length - this.position) throw new RangeError('the bytes end within a value');
    this.position += length;
  }

  #varint(): number {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 128 ** i;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number of more than 64 bits');
  }

  #zigzag(): number {
    const value = this.#varint();
    const number = value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    if (!Number.isSafeInteger(number)) throw new RangeError('a number beyond 2^53');
    return number;
  }
}

/** Parquet's own structures are seven deep. */
const MAX_DEPTH = 32;
const STOP = 0;
const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const I16 = 4;
const I32 = 5;
const I64 = 6;
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const SET = 10;
const STRUCT = 12;
