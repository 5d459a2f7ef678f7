import { UserError } from '../errors.js';

/** What a pickle can hold here. Dictionaries are Maps, tuples and lists arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | PickleObject;

/** A class or function that the pickle names. It is never imported or called. */
export class PickleGlobal {
  constructor(readonly name: string) {}
}

/** What a caller's `construct` or `load` makes; opaque to the unpickler. */
export abstract class PickleObject {}

/** An object of a class that is not known here: its attributes are data, its methods do not exist. */
export class PickleInstance extends PickleObject {
  /** by name, once the pickle has set them */
  attributes: PickleValue = null;

  constructor(
    readonly className: string,
    readonly args: readonly PickleValue[] = [],
  ) {
    super();
  }
}

export interface PickleHandlers {
  /** Stands for calling a global with arguments. @throws UserError for globals that are not allowed */
  construct(name: string, args: PickleValue[]): PickleValue;
  /** Stands for an object kept outside of the pickle. */
  load(id: PickleValue): PickleValue;
}

/**
 * A checkpoint of a thousand tensors with its optimizer takes some 100,000 operations. The limit bounds memory too:
 * none leaves more than a few hundred bytes.
 */
const MAX_OPERATIONS = 500_000;
/** Names of classes are shorter. */
const MAX_GLOBAL_LENGTH = 200;

/** Where a pickle begins, and how much was done to read those before it. */
export interface PickleCursor {
  at: number;
  operations: number;
}

/**
 * Reads a pickle of protocol 2 to 5 without executing anything: globals stay names, and only `handlers` decide what
 * they stand for.
 *
 * @param cursor afterwards stands where the pickle has ended
 * @throws UserError where the bytes are damaged or use what is not read here
 */
export function unpickle(
  bytes: Uint8Array,
  source: string,
  handlers: PickleHandlers,
  cursor: PickleCursor = { at: 0, operations: 0 },
): PickleValue {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: PickleValue[] = [];
  const marks: number[] = [];
  const memo = new Map<number, PickleValue>();
  let { at, operations } = cursor;

  const damaged = (what: string) => new UserError(`${source} is damaged at byte ${at}: ${what}`);
  const take = (length: number): Buffer => {
    if (length < 0 || at + length > data.length) throw damaged('it is cut off');
    at += length;
    return data.subarray(at - length, at);
  };
  const byte = (): number => {
    if (at >= data.length) throw damaged('it is cut off');
    return data[at++];
  };
  const pop = (): PickleValue => {
    if (stack.length === (marks.at(-1) ?? 0)) throw damaged('its stack is empty');
    return stack.pop()!;
  };
  const popMark = (): PickleValue[] => {
    const mark = marks.pop();
    if (mark === undefined) throw damaged('a mark is missing');
    return stack.splice(mark);
  };
  const top = <T extends PickleValue>(is: (value: PickleValue) => value is T, kind: string): T => {
    const value = stack.at(-1);
    if (value === undefined || !is(value)) throw damaged(`expected a ${kind}`);
    return value;
  };
  const line = (): string => {
    const end = data.indexOf(10, at);
    if (end < 0) throw damaged('a line has no end');
    const text = data.toString('utf8', at, end);
    at = end + 1;
    return text;
  };
  const recall = (key: number): void => {
    const value = memo.get(key);
    if (value === undefined) throw damaged(`memo ${key} is empty`);
    stack.push(value);
  };
  const remember = (key: number): void => {
    const value = stack.at(-1);
    if (value === undefined) throw damaged('nothing to remember');
    memo.set(key, value);
  };
  const setItems = (items: PickleValue[]): void => {
    const target = top(isMap, 'dictionary');
    if (items.length % 2 !== 0) throw damaged('a key has no value');
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  };
  const named = (module: PickleValue, name: PickleValue): PickleGlobal => {
    if (typeof module !== 'string' || typeof name !== 'string') throw damaged('a class has no name');
    if (module.length + name.length > MAX_GLOBAL_LENGTH) throw damaged('the name of a class is too long');
    return new PickleGlobal(`${module}.${name}`);
  };
  const call = (callee: PickleValue, args: PickleValue): PickleValue => {
    if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) throw damaged('it calls what is no class');
    // What a call looks through counts: the same long list can be handed to many.
    operations += args.length;
    for (const arg of args) if (Array.isArray(arg)) operations += arg.length;
    return handlers.construct(callee.name, args);
  };

  for (;;) {
    if (++operations > MAX_OPERATIONS) throw damaged('it has more operations than any honest one');
    const opcode = byte();
    switch (opcode) {
      case 0x80: // PROTO
        byte();
        break;
      case 0x95: // FRAME
        take(8);
        break;
      case 0x2e: // STOP
        Object.assign(cursor, { at, operations });
        return pop();
      case 0x28: // MARK
        marks.push(stack.length);
        break;
      case 0x30: // POP
        pop();
        break;
      case 0x4e: // NONE
        stack.push(null);
        break;
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        stack.push(opcode === 0x88);
        break;
      case 0x4b: // BININT1
        stack.push(byte());
        break;
      case 0x4d: // BININT2
        stack.push(take(2).readUInt16LE());
        break;
      case 0x4a: // BININT
        stack.push(take(4).readInt32LE());
        break;
      case 0x8a: // LONG1
        stack.push(longInteger(take(byte())));
        break;
      case 0x47: // BINFLOAT
        stack.push(take(8).readDoubleBE());
        break;
      case 0x58: // BINUNICODE
        stack.push(take(take(4).readUInt32LE()).toString('utf8'));
        break;
      case 0x8d: // BINUNICODE8
        stack.push(take(Number(take(8).readBigUInt64LE())).toString('utf8'));
        break;
      case 0x8c: // SHORT_BINUNICODE
        stack.push(take(byte()).toString('utf8'));
        break;
      case 0x54: // BINSTRING
        stack.push(take(take(4).readUInt32LE()).toString('latin1'));
        break;
      case 0x55: // SHORT_BINSTRING
        stack.push(take(byte()).toString('latin1'));
        break;
      case 0x42: // BINBYTES
        stack.push(take(take(4).readUInt32LE()));
        break;
      case 0x43: // SHORT_BINBYTES
        stack.push(take(byte()));
        break;
      case 0x7d: // EMPTY_DICT
        stack.push(new Map());
        break;
      case 0x8f: // EMPTY_SET
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        stack.push([]);
        break;
      case 0x74: // TUPLE
        stack.push(popMark());
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        stack.push(Array.from({ length: opcode - 0x84 }, pop).reverse());
        break;
      case 0x61: {
        // APPEND
        const value = pop();
        top(Array.isArray as (value: PickleValue) => value is PickleValue[], 'list').push(value);
        break;
      }
      case 0x90: // ADDITEMS
      case 0x65: {
        // APPENDS
        const values = popMark();
        const list = top(Array.isArray as (value: PickleValue) => value is PickleValue[], 'list');
        for (const value of values) list.push(value);
        break;
      }
      case 0x73: {
        // SETITEM
        const value = pop();
        setItems([pop(), value]);
        break;
      }
      case 0x75: // SETITEMS
        setItems(popMark());
        break;
      case 0x71: // BINPUT
        remember(byte());
        break;
      case 0x72: // LONG_BINPUT
        remember(take(4).readUInt32LE());
        break;
      case 0x94: // MEMOIZE
        remember(memo.size);
        break;
      case 0x68: // BINGET
        recall(byte());
        break;
      case 0x6a: // LONG_BINGET
        recall(take(4).readUInt32LE());
        break;
      case 0x63: // GLOBAL
        stack.push(named(line(), line()));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const name = pop();
        stack.push(named(pop(), name));
        break;
      }
      case 0x52: // REDUCE
      case 0x81: {
        // NEWOBJ
        const args = pop();
        stack.push(call(pop(), args));
        break;
      }
      case 0x62: {
        // BUILD: attributes of an object; those of a dictionary (a state_dict's _metadata) no reader needs
        const attributes = pop();
        const target = stack.at(-1);
        if (target instanceof PickleGlobal) throw damaged(`it changes ${target.name}`);
        if (target instanceof PickleInstance) target.attributes = attributes;
        break;
      }
      case 0x51: // BINPERSID
        stack.push(handlers.load(pop()));
        break;
      default:
        throw damaged(`opcode 0x${opcode.toString(16)} is not one that is read here`);
    }
  }
}

function isMap(value: PickleValue): value is Map<PickleValue, PickleValue> {
  return value instanceof Map;
}

/** A little-endian two's complement integer; a number where it is a safe one. */
function longInteger(bytes: Buffer): number | bigint {
  if (bytes.length === 0) return 0;
  const value = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
  const signed = BigInt.asIntN(bytes.length * 8, value);
  return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
}
