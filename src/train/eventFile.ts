import { appendFileSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import protobuf from 'protobufjs/light.js';
import { crc32c } from '../io/crc.js';

/** The messages of TensorFlow's event.proto and summary.proto that scalars need, with their field numbers. */
const schema = protobuf.Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: { id: 1, type: 'double' },
        step: { id: 2, type: 'int64' },
        fileVersion: { id: 3, type: 'string' },
        summary: { id: 5, type: 'Summary' },
        sessionLog: { id: 7, type: 'SessionLog' },
      },
    },
    Summary: { fields: { value: { id: 1, type: 'Value', rule: 'repeated' } } },
    Value: { fields: { tag: { id: 1, type: 'string' }, simpleValue: { id: 2, type: 'float' } } },
    SessionLog: { fields: { status: { id: 1, type: 'int32' } } },
  },
});
const Event = schema.lookupType('Event');

const SESSION_START = 1;

/** A file of scalars that TensorBoard reads, one for each process of a run: TFRecords of Event messages. */
export class EventFile {
  private readonly path: string;

  /** @param firstStep what other files of the folder say from this step on, TensorBoard forgets: it is taken again */
  constructor(folder: string, firstStep: number) {
    mkdirSync(folder, { recursive: true });
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, '0');
    this.path = join(folder, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}`);
    this.write({ fileVersion: 'brain.Event:2' });
    this.write({ step: firstStep, sessionLog: { status: SESSION_START } });
  }

  append(step: number, scalars: Record<string, number>): void {
    const value = Object.entries(scalars).map(([tag, simpleValue]) => ({ tag, simpleValue }));
    this.write({ step, summary: { value } });
  }

  private write(content: object): void {
    const event = Event.encode({ wallTime: Date.now() / 1000, ...content }).finish();
    appendFileSync(this.path, tfRecord(event));
  }
}

/** TFRecord: the length, its checksum, the data, its checksum, all little-endian. */
export function tfRecord(data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(16 + data.length);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return record;
}

/** TFRecord's mask, so that a checksum of data that holds checksums stays a good one. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
