import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32c } from '../src/io/crc.js';
import { EventFile } from '../src/train/eventFile.js';
import { temporaryDirectory } from './support.js';

/** CRC-32C bit by bit, to compare with. */
function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

/** TFRecord's mask: a rotation to the right by 15, and a constant. */
function masked(bytes: Uint8Array): number {
  const crc = BigInt(slowCrc(bytes));
  const rotated = (crc >> 15n) | ((crc << 17n) & 0xffffffffn);
  return Number((rotated + 0xa282ead8n) & 0xffffffffn);
}

/** The records of a file, framing and checksums checked. */
function recordsOf(file: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    assert.equal(file.readUInt32LE(at + 8), masked(file.subarray(at, at + 8)), 'checksum of the length');
    const data = file.subarray(at + 12, at + 12 + length);
    assert.equal(data.length, length);
    assert.equal(file.readUInt32LE(at + 12 + length), masked(data), 'checksum of the data');
    records.push(data);
    at += 16 + length;
  }
  return records;
}

/** The fields of a protobuf message by number: varints as numbers, all else as bytes. */
function fieldsOf(message: Buffer): Map<number, (number | Buffer)[]> {
  const fields = new Map<number, (number | Buffer)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const fieldValue = (wireType: number) => {
    if (wireType === 0) return varint();
    const size = wireType === 2 ? varint() : { 1: 8, 5: 4 }[wireType]!;
    at += size;
    return message.subarray(at - size, at);
  };
  while (at < message.length) {
    const tag = varint();
    fields.set(tag >>> 3, [...(fields.get(tag >>> 3) ?? []), fieldValue(tag & 7)]);
  }
  return fields;
}

test('CRC-32C of the examples of RFC 3720', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
});

test('an event file holds its version, the session, and scalars by step', () => {
  const folder = temporaryDirectory();
  const events = new EventFile(folder, 300);
  events.append(301, { 'train/loss': 1.5, 'train/accuracy': 0.25 });
  events.append(302, { 'train/loss': -(2 ** -10) });
  const [name] = readdirSync(folder);
  assert.match(name, /^events\.out\.tfevents\.\d{10}\./);
  const [version, session, ...scalars] = recordsOf(readFileSync(join(folder, name))).map(fieldsOf);
  assert.equal(String(version.get(3)![0]), 'brain.Event:2');
  const seconds = (version.get(1)![0] as Buffer).readDoubleLE();
  assert.ok(Math.abs(seconds - Date.now() / 1000) < 60);
  assert.deepEqual(session.get(2), [300]);
  assert.deepEqual(fieldsOf(session.get(7)![0] as Buffer).get(1), [1]);
  const found = scalars.map((event) => [
    event.get(2)![0],
    ...fieldsOf(event.get(5)![0] as Buffer)
      .get(1)!
      .map((value) => {
        const fields = fieldsOf(value as Buffer);
        return [String(fields.get(1)![0]), (fields.get(2)![0] as Buffer).readFloatLE()];
      }),
  ]);
  assert.deepEqual(found, [
    [301, ['train/loss', 1.5], ['train/accuracy', 0.25]],
    [302, ['train/loss', -(2 ** -10)]],
  ]);
});
