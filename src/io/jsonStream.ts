/** What a JSON text holds, in order. A scalar is a number, string, boolean or null. */
export interface JsonHandler {
  begin(kind: 'object' | 'array'): void;
  end(): void;
  key(name: string): void;
  scalar(value: string | number | boolean | null): void;
}

/** No honest string or number of the files read here is longer. */
const MAX_TOKEN_BYTES = 1 << 16;
const MAX_DEPTH = 64;

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** What may come next. */
type Expected = 'value' | 'value or ]' | 'key or }' | 'key' | ':' | ', or ]' | ', or }' | 'the end';

/**
 * Parses JSON of any length in chunks, holding one token at a time: `push` the bytes, then `finish`.
 *
 * Both throw a SyntaxError with the position where the text is no JSON, a string or number is longer than 64 KiB, or
 * it is nested more than 64 deep.
 */
export class JsonStream {
  #expected: Expected = 'value';
  readonly #open: ('object' | 'array')[] = [];
  #position = 0;
  /** Bytes of the token that a chunk left open. */
  #token: Buffer[] = [];
  #tokenLength = 0;
  #inString = false;
  #escaped = false;

  constructor(private readonly handler: JsonHandler) {}

  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    let start = this.#tokenLength > 0 ? 0 : -1;
    let i = 0;
    for (; i < bytes.length; i++) {
      const byte = bytes[i];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          this.#inString = false;
          this.#finishToken(bytes.subarray(start, i + 1), i);
          start = -1;
        }
        continue;
      }
      const isSpace = byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
      if (!isSpace && byte !== COMMA && !isStructure(byte)) {
        if (start < 0) start = i;
        if (byte === QUOTE) {
          if (start !== i || this.#tokenLength > 0) throw this.#error(i, 'a string follows a value');
          this.#inString = true;
        }
        continue;
      }
      if (start >= 0) {
        this.#finishToken(bytes.subarray(start, i), i);
        start = -1;
      }
      if (!isSpace) this.#structure(byte, i);
    }
    if (start >= 0) this.#keep(bytes.subarray(start), i);
    this.#position += bytes.length;
  }

  finish(): void {
    if (this.#inString) throw this.#error(0, 'a string is not closed');
    if (this.#tokenLength > 0) this.#finishToken(Buffer.alloc(0), 0);
    if (this.#expected !== 'the end') throw this.#error(0, `the text ends, expected ${this.#expected}`);
  }

  #structure(byte: number, at: number): void {
    const expected = this.#expected;
    const isValue = expected === 'value' || expected === 'value or ]';
    if (byte === OPEN_ARRAY && isValue) this.#begin('array', 'value or ]', at);
    else if (byte === OPEN_OBJECT && isValue) this.#begin('object', 'key or }', at);
    else if (byte === CLOSE_ARRAY && (expected === ', or ]' || expected === 'value or ]')) this.#end();
    else if (byte === CLOSE_OBJECT && (expected === ', or }' || expected === 'key or }')) this.#end();
    else if (byte === COMMA && expected === ', or ]') this.#expected = 'value';
    else if (byte === COMMA && expected === ', or }') this.#expected = 'key';
    else if (byte === COLON && expected === ':') this.#expected = 'value';
    else throw this.#error(at, `expected ${expected}, found ${String.fromCharCode(byte)}`);
  }

  #begin(kind: 'object' | 'array', next: Expected, at: number): void {
    if (this.#open.length === MAX_DEPTH) throw this.#error(at, `nested more than ${MAX_DEPTH} deep`);
    this.#open.push(kind);
    this.#expected = next;
    this.handler.begin(kind);
  }

  #end(): void {
    this.#open.pop();
    this.#afterValue();
    this.handler.end();
  }

  #afterValue(): void {
    const inside = this.#open.at(-1);
    this.#expected = inside === undefined ? 'the end' : inside === 'array' ? ', or ]' : ', or }';
  }

  #keep(part: Buffer, at: number): void {
    this.#tokenLength += part.length;
    if (this.#tokenLength > MAX_TOKEN_BYTES)
      throw this.#error(at, `a value is longer than ${MAX_TOKEN_BYTES} bytes`);
    this.#token.push(Buffer.from(part));
  }

  #finishToken(part: Buffer, at: number): void {
    let text: string;
    if (this.#tokenLength === 0 && part.length <= MAX_TOKEN_BYTES) text = part.toString('utf8');
    else {
      this.#keep(part, at);
      text = Buffer.concat(this.#token).toString('utf8');
      this.#token = [];
      this.#tokenLength = 0;
    }
    const expected = this.#expected;
    const isKey = expected === 'key' || expected === 'key or }';
    if (!isKey && expected !== 'value' && expected !== 'value or ]') {
      throw this.#error(at, `expected ${expected}, found ${text.slice(0, 40)}`);
    }
    let value: string | number | boolean | null;
    try {
      value = JSON.parse(text) as typeof value;
    } catch {
      throw this.#error(at, `${text.slice(0, 40)} is no JSON value`);
    }
    if (!isKey) {
      this.#afterValue();
      this.handler.scalar(value);
      return;
    }
    if (typeof value !== 'string')
      throw this.#error(at, `expected a name in quotes, found ${text.slice(0, 40)}`);
    this.#expected = ':';
    this.handler.key(value);
  }

  #error(at: number, what: string): SyntaxError {
    return new SyntaxError(`byte ${this.#position + at}: ${what}`);
  }
}

function isStructure(byte: number): boolean {
  return (
    byte === OPEN_ARRAY ||
    byte === CLOSE_ARRAY ||
    byte === OPEN_OBJECT ||
    byte === CLOSE_OBJECT ||
    byte === COLON
  );
}
