import { PickleGlobal } from './pickle.js';

/** A call of a global, or with `items` one whose result is a dictionary that is then filled. */
export class PickleCall {
  constructor(
    readonly callee: PickleGlobal,
    readonly args: readonly Picklable[],
    readonly items: ReadonlyMap<string | number, Picklable> = new Map(),
  ) {}
}

/** An object kept outside of the pickle, by what finds it there. */
export class PersistentId {
  constructor(readonly id: Picklable) {}
}

/** A floating-point number: a plain one is written as an integer. */
export class Float {
  constructor(readonly value: number) {}
}

/** What is written here. Maps become dictionaries, arrays tuples, `{ list }` a list. Plain numbers are whole ones. */
export type Picklable =
  | null
  | boolean
  | number
  | string
  | Float
  | readonly Picklable[]
  | { readonly list: readonly Picklable[] }
  | ReadonlyMap<string | number, Picklable>
  | PickleGlobal
  | PickleCall
  | PersistentId;

/**
 * Writes a value as a pickle of protocol 2, which torch.save uses. Nothing is memoized: a value that occurs twice is
 * written twice.
 *
 * @throws RangeError for a number that is no safe integer
 */
export function pickle(value: Picklable): Buffer {
  const parts: Buffer[] = [Buffer.from([0x80, 2])]; // PROTO
  write(value, parts);
  parts.push(Buffer.from('.')); // STOP
  return Buffer.concat(parts);
}

function write(value: Picklable, parts: Buffer[]): void {
  const put = (opcode: string, operand?: Buffer) => {
    parts.push(Buffer.from(opcode, 'latin1'));
    if (operand !== undefined) parts.push(operand);
  };
  if (value === null)
    put('N'); // NONE
  else if (typeof value === 'boolean')
    put(value ? '\x88' : '\x89'); // NEWTRUE, NEWFALSE
  else if (typeof value === 'number') writeInteger(value, put);
  else if (typeof value === 'string') {
    const text = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    put('X', Buffer.concat([length, text])); // BINUNICODE
  } else if (value instanceof Float) {
    const operand = Buffer.alloc(8);
    operand.writeDoubleBE(value.value);
    put('G', operand); // BINFLOAT
  } else if (value instanceof PickleGlobal) {
    const dot = value.name.lastIndexOf('.');
    put('c', Buffer.from(`${value.name.slice(0, dot)}\n${value.name.slice(dot + 1)}\n`)); // GLOBAL
  } else if (value instanceof PickleCall) {
    write(value.callee, parts);
    write(value.args, parts);
    put('R'); // REDUCE
    if (value.items.size > 0) writeItems(value.items, parts, put);
  } else if (value instanceof PersistentId) {
    write(value.id, parts);
    put('Q'); // BINPERSID
  } else if (isMap(value)) {
    put('}'); // EMPTY_DICT
    writeItems(value, parts, put);
  } else if ('list' in value) {
    put(']'); // EMPTY_LIST
    put('('); // MARK
    for (const item of value.list) write(item, parts);
    put('e'); // APPENDS
  } else {
    put('('); // MARK
    for (const item of value) write(item, parts);
    put('t'); // TUPLE
  }
}

type Put = (opcode: string, operand?: Buffer) => void;

function writeItems(items: ReadonlyMap<string | number, Picklable>, parts: Buffer[], put: Put): void {
  put('('); // MARK
  for (const [key, item] of items) {
    write(key, parts);
    write(item, parts);
  }
  put('u'); // SETITEMS
}

function writeInteger(value: number, put: Put): void {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no whole number that can be pickled`);
  const operand = Buffer.alloc(value === (value | 0) ? 4 : 9);
  if (operand.length === 4) {
    operand.writeInt32LE(value);
    put('J', operand); // BININT
  } else {
    operand[0] = 8;
    operand.writeBigInt64LE(BigInt(value), 1);
    put('\x8a', operand); // LONG1
  }
}

function isMap(value: Picklable): value is ReadonlyMap<string | number, Picklable> {
  return value instanceof Map;
}
