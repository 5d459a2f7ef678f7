import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { decodeImage } from '../src/image/decode.js';

interface Bitmap {
  bits: number;
  width: number;
  /** negative: from the top down */
  height: number;
  compression?: number;
  masks?: number[];
  palette?: number[][];
  data: number[];
}

/** A BMP file with a header of 40 bytes. */
function bmp({ bits, width, height, compression = 0, masks = [], palette = [], data }: Bitmap): Buffer {
  const start = 54 + masks.length * 4 + palette.length * 4;
  const file = Buffer.alloc(start + data.length);
  file.write('BM');
  file.writeUInt32LE(start, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(bits, 28);
  file.writeUInt32LE(compression, 30);
  file.writeUInt32LE(palette.length, 46);
  for (const [i, mask] of masks.entries()) file.writeUInt32LE(mask, 54 + i * 4);
  for (const [i, [red, green, blue]] of palette.entries())
    file.set([blue, green, red], 54 + masks.length * 4 + i * 4);
  file.set(data, start);
  return file;
}

const palette = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [9, 9, 9],
];
const [RED, GREEN, BLUE, DARK] = palette;
const white = [255, 255, 255];

test('every depth, direction and compression gives the pixels that were written', async () => {
  const rows = [RED, GREEN, BLUE, BLUE, GREEN, DARK];
  const indices = { width: 3, height: 2, palette };
  const cases: [string, Bitmap, number[][]][] = [
    [
      '1 bit',
      { bits: 1, width: 3, height: 1, palette: [RED, white], data: [0b01100000, 0, 0, 0] },
      [RED, white, white],
    ],
    ['4 bits', { bits: 4, ...indices, data: [0x21, 0x30, 0, 0, 0x01, 0x20, 0, 0] }, rows],
    ['8 bits', { bits: 8, ...indices, data: [2, 1, 3, 0, 0, 1, 2, 0] }, rows],
    ['top down', { bits: 8, ...indices, height: -2, data: [0, 1, 2, 0, 2, 1, 3, 0] }, rows],
    [
      'run lengths',
      { bits: 8, ...indices, compression: 1, data: [0, 3, 2, 1, 3, 0, 0, 0, 1, 0, 1, 1, 1, 2, 0, 1] },
      rows,
    ],
    [
      'a jump',
      { bits: 8, ...indices, compression: 1, data: [0, 2, 1, 1, 1, 1, 1, 3, 0, 1] },
      [RED, GREEN, DARK, RED, RED, RED],
    ],
    [
      'runs of 4 bits',
      { bits: 4, ...indices, compression: 2, data: [3, 0x21, 0, 0, 3, 0x01, 0, 1] },
      [RED, GREEN, RED, BLUE, GREEN, BLUE],
    ],
    ['16 bits', { bits: 16, width: 2, height: 1, data: [0, 0x7c, 0xff, 0x7f] }, [RED, white]],
    [
      '16 bits with masks',
      {
        bits: 16,
        width: 2,
        height: 1,
        compression: 3,
        masks: [0xf800, 0x7e0, 0x1f],
        data: [0xe0, 7, 0x1f, 0],
      },
      [GREEN, BLUE],
    ],
    [
      '24 bits',
      { bits: 24, width: 1, height: 2, data: [3, 2, 1, 0, 6, 5, 4, 0] },
      [
        [4, 5, 6],
        [1, 2, 3],
      ],
    ],
    [
      '32 bits',
      { bits: 32, width: 2, height: 1, data: [3, 2, 1, 77, 6, 5, 4, 0] },
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ],
  ];
  for (const [name, file, pixels] of cases) {
    const image = await decodeImage(bmp(file), name);
    assert.deepEqual([image.width, image.height], [file.width, Math.abs(file.height)], name);
    assert.deepEqual([...image.data], pixels.flat(), name);
    assert.equal(image.resampling, file.bits <= 8 ? 'nearest' : 'bicubic', name);
  }
  const ramp = Array.from({ length: 256 }, (_, i) => [i, i, i]);
  const grey = await decodeImage(
    bmp({ bits: 8, width: 1, height: 1, palette: ramp, data: [7, 0, 0, 0] }),
    'grey',
  );
  assert.deepEqual([[...grey.data], grey.resampling], [[7, 7, 7], 'bicubic']);
});

test('a truncated, oversized or unknown BMP is an error that names it', async () => {
  const good = bmp({ bits: 8, width: 3, height: 2, palette, data: [2, 1, 3, 0, 0, 1, 2, 0] });
  const changed = (offset: number, value: number) => {
    const file = Buffer.from(good);
    file.writeInt32LE(value, offset);
    return file;
  };
  const run = bmp({ bits: 8, width: 3, height: 2, palette, compression: 1, data: [3, 1, 0] });
  for (let length = 2; length < good.length - 1; length++)
    await refuses(good.subarray(0, length), /truncated/);
  await refuses(run, /truncated/);
  await refuses(changed(14, 41), /header of 41 bytes/);
  await refuses(changed(18, 0), /0 × 2 pixels/);
  await refuses(changed(18, 2 ** 31 - 1), /limit/);
  const long = { bits: 1, palette: [RED, white] };
  const tall = bmp({ ...long, width: 1, height: 65_536, data: Array(65_536 * 4).fill(0) });
  await refuses(tall, /1 × 65536 pixels; at most 65535 a side are read/);
  const wide = bmp({ ...long, width: 65_536, height: -1, data: Array(65_536 / 8).fill(0) });
  await refuses(wide, /65536 × 1 pixels; at most 65535 a side are read/);
  await refuses(changed(28, 7), /7 bits a pixel/);
  await refuses(changed(30, 4), /compression 4/);
  await refuses(changed(46, 2 ** 30), /palette of/);
});

async function refuses(file: Buffer, message: RegExp): Promise<void> {
  await assert.rejects(decodeImage(file, 'shop.tsv, line 3'), (error: Error) => {
    assert.equal(error.name, 'UserError');
    assert.match(error.message, /^shop\.tsv, line 3: /);
    assert.match(error.message, message);
    return true;
  });
}

test('a transparent colour of a GIF keeps its palette colour; a grey ramp is no palette', async () => {
  // One pixel of colour 1, which is transparent: as written by hand after the GIF89a specification.
  const gif = (colours: number[][]) =>
    Buffer.from([
      ...Buffer.from('GIF89a'),
      ...[1, 0, 1, 0, 0x80 | (Math.log2(colours.length) - 1), 0, 0],
      ...colours.flat(),
      ...[0x21, 0xf9, 4, 1, 0, 0, 1, 0],
      ...[0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0],
      ...[2, 2, 0x4c, 1, 0, 0x3b],
    ]);
  const image = await decodeImage(gif([RED, [40, 90, 200]]), 'transparent');
  assert.deepEqual([[...image.data], image.resampling], [[40, 90, 200], 'nearest']);
  assert.equal((await sharp(gif([RED, GREEN])).metadata()).hasAlpha, true);
  const ramp = await decodeImage(
    gif([
      [0, 0, 0],
      [1, 1, 1],
    ]),
    'ramp',
  );
  assert.deepEqual([[...ramp.data], ramp.resampling], [[1, 1, 1], 'bicubic']);
});
