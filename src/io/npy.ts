import { endianness } from 'node:os';
import { UserError } from '../errors.js';
import { writeFileAtomic } from './atomic.js';
import { bytesOf, RangedFile } from './readFile.js';

const MAGIC = Buffer.from('\x93NUMPY', 'latin1');
/** Headers of two dimensions take 118 bytes. */
const MAX_HEADER_BYTES = 1 << 16;

/**
 * Reads a matrix from a NumPy file (format 1 to 3): little-endian float32, C order, two dimensions.
 *
 * @returns its values, row major, and its shape
 * @throws UserError naming the file where it is no such matrix, or its size is not what the header says
 */
export function readNpy(path: string): { shape: [number, number]; data: Float32Array } {
  const file = new RangedFile(path);
  const start = file.read(0, Math.min(12, file.size));
  const view = new DataView(start.buffer);
  if (start.length < 12 || !MAGIC.equals(start.subarray(0, 6)) || start[6] < 1 || start[6] > 3) {
    throw new UserError(`${path}: not a NumPy file of format 1 to 3`);
  }
  const headerStart = start[6] === 1 ? 10 : 12;
  const headerLength = start[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerLength > MAX_HEADER_BYTES) throw new UserError(`${path}: a header of ${headerLength} bytes`);
  const header = Buffer.from(file.read(headerStart, headerLength)).toString('latin1');
  const shape = /'shape': *\((\d{1,15}), *(\d{1,15}),?\)/.exec(header)?.slice(1).map(Number);
  const isMatrix = /'descr': *'<f4'/.test(header) && /'fortran_order': *False/.test(header);
  if (!isMatrix || shape === undefined) {
    throw new UserError(
      `${path}: expected little-endian float32 in C order with two dimensions, found ${header.trim().slice(0, 200)}`,
    );
  }
  const dataStart = headerStart + headerLength;
  const bytes = shape[0] * shape[1] * 4;
  if (dataStart + bytes !== file.size) {
    throw new UserError(
      `${path}: ${shape[0]} × ${shape[1]} values need ${dataStart + bytes} bytes, the file has ${file.size}`,
    );
  }
  return {
    shape: [shape[0], shape[1]],
    data: new Float32Array(file.read(dataStart, bytes).buffer),
  };
}

/**
 * Writes a matrix as numpy.save does: float32, C order.
 *
 * @param data row major, [rows, columns]
 * @throws RangeError where the data does not fill the shape
 */
export function writeNpy(path: string, data: Float32Array, [rows, columns]: readonly [number, number]): void {
  if (data.length !== rows * columns) {
    throw new RangeError(`${data.length} values for a matrix of ${rows} × ${columns}`);
  }
  if (endianness() !== 'LE') throw new Error('NumPy files are written on little-endian machines only');
  const description = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  // The data starts at a multiple of 64.
  const length = Math.ceil((10 + description.length + 1) / 64) * 64 - 10;
  const start = Buffer.alloc(10);
  MAGIC.copy(start);
  start[6] = 1;
  start.writeUInt16LE(length, 8);
  writeFileAtomic(path, (append) => {
    append(start);
    append(`${description.padEnd(length - 1)}\n`);
    append(bytesOf(data));
  });
}
