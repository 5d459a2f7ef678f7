import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import loadWabt from 'wabt';
import { UserError } from '../src/errors.js';
import { decodeImage } from '../src/image/decode.js';
import { preprocessImage, resizeImage, resizeToRgb } from '../src/image/preprocess.js';
import { resampleModule } from '../src/image/resample.js';
import { resizeBicubic, resizeNearest } from '../src/image/resize.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { readSafetensors } from '../src/io/safetensors.js';

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../tests/fixtures/images/${name}`, import.meta.url));
const golden = readSafetensors(fixture('resized.safetensors'));

test('resizing matches Pillow to the bit for every kind of picture', async (t) => {
  assert.equal(golden.size, 17);
  for (const [name, expected] of golden) {
    await t.test(name, async () => {
      const [file, size] = name.split('@');
      const image = resizeToRgb(await decodeImage(readFileSync(fixture(file)), file), Number(size));
      assert.deepEqual([image.height, image.width, image.channels], expected.shape);
      assert.deepEqual(image.data, expected.data);
    });
  }
});

test('three and four channels resize alike, whatever the size', () => {
  const [width, height] = [23, 17];
  const plane = Uint8Array.from({ length: width * height }, (_, i) => (i * i * 31) % 251);
  const spread = (channels: number) =>
    Uint8Array.from({ length: plane.length * channels }, (_, i) => plane[Math.floor(i / channels)]);
  for (const [toWidth, toHeight] of [
    [7, 40],
    [23, 5],
    [11, 17],
    [23, 17],
    [64, 64],
  ]) {
    const [three, four] = [3, 4].map((channels) =>
      resizeBicubic({ width, height, channels, data: spread(channels) }, toWidth, toHeight),
    );
    assert.equal(three.data.length, toWidth * toHeight * 3);
    const first = three.data.filter((_, i) => i % 3 === 0);
    for (const channel of [1, 2])
      assert.deepEqual(
        three.data.filter((_, i) => i % 3 === channel),
        first,
      );
    for (const channel of [0, 1, 2, 3])
      assert.deepEqual(
        four.data.filter((_, i) => i % 4 === channel),
        first,
      );
  }
});

test('the module in resample.ts is what resample.wat assembles to', async () => {
  const wabt = await loadWabt();
  const source = readFileSync(join(packageRoot, 'src', 'image', 'resample.wat'), 'utf8');
  const { buffer } = wabt.parseWat('resample.wat', source, { simd: true }).toBinary({});
  assert.equal(
    resampleModule,
    Buffer.from(buffer).toString('base64'),
    'put the second string into resample.ts',
  );
});

test('resizing keeps a flat picture flat, and the same size unchanged', () => {
  const flat = { width: 50, height: 40, channels: 3, data: new Uint8Array(50 * 40 * 3).fill(200) };
  for (const side of [3, 49, 130])
    assert.ok(resizeBicubic(flat, side, side).data.every((value) => value === 200));
  const grey = [9, 0, 255, 7, 3, 4, 250, 1];
  const noise = { width: 4, height: 2, channels: 3, data: Uint8Array.from(grey.flatMap((v) => [v, v, v])) };
  assert.deepEqual(resizeBicubic(noise, 4, 2).data, noise.data);
  assert.deepEqual([...resizeNearest(noise, 2, 1).data], [4, 4, 4, 1, 1, 1]);
});

test('a picture by its path or content becomes RGB, or normalised planes', async () => {
  const rgb = golden.get('chelsea.jpg@64')!.data;
  const area = 64 * 64;
  const path = fixture('chelsea.jpg');
  assert.deepEqual(await resizeImage(path, 64), { data: rgb, width: 64, height: 64 });
  const out = await preprocessImage(path, 64);
  assert.deepEqual(await preprocessImage(readFileSync(path), 64), out);
  await assert.rejects(resizeImage(fixture('absent.jpg'), 64), { name: 'UserError', message: /absent\.jpg/ });
  await assert.rejects(resizeImage(path, 0), RangeError);
  const mean = [0.48145466, 0.4578275, 0.40821073];
  const deviation = [0.26862954, 0.26130258, 0.27577711];
  for (let i = 0; i < 3 * area; i++) {
    const channel = Math.floor(i / area);
    const expected = (Number(rgb[(i % area) * 3 + channel]) / 255 - mean[channel]) / deviation[channel];
    assert.ok(Math.abs(out[i] - expected) < 5e-7, `value ${i}: ${out[i]}, expected ${expected}`);
  }
  assert.equal(out.length, 3 * area);
});

test('EXIF orientation, colour profiles and single transparent colours are ignored, as in the reference', async () => {
  const pixels = Uint8Array.from({ length: 8 * 4 * 3 }, (_, i) => (i * 37) % 256);
  const raw = () => sharp(pixels, { raw: { width: 8, height: 4, channels: 3 } });
  const upright = await raw().jpeg().toBuffer();
  const turned = await raw().jpeg().withMetadata({ orientation: 6 }).toBuffer();
  assert.deepEqual(await decodeImage(turned, 'turned'), await decodeImage(upright, 'upright'));
  // Wide-gamut values mean other sRGB values; what counts is what is stored.
  const wideGamut = await raw().withIccProfile('p3').png().toBuffer();
  const stored = await sharp(wideGamut, { ignoreIcc: true }).raw().toBuffer();
  assert.notDeepEqual(await sharp(wideGamut).raw().toBuffer(), stored);
  assert.deepEqual(Buffer.from((await decodeImage(wideGamut, 'wide gamut')).data), stored);
  // A tRNS chunk for the first pixel's colour, put behind IHDR.
  const png = await raw().png().toBuffer();
  const chunk = Buffer.concat([
    Buffer.of(0, 0, 0, 6),
    Buffer.from('tRNS'),
    Buffer.of(0, 0, 0, 37, 0, 74),
    Buffer.of(0, 0, 0, 0),
  ]);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 14)), 14);
  const transparent = Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]);
  assert.equal((await sharp(transparent).metadata()).hasAlpha, true);
  assert.deepEqual(await decodeImage(transparent, 'transparent'), await decodeImage(png, 'png'));
});

test('a broken picture is an error that names it', async (t) => {
  const jpeg = readFileSync(fixture('chelsea.jpg'));
  const wide = await sharp({ create: { width: 70_000, height: 1, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  const bomb = Buffer.from(wide);
  bomb.writeUInt32BE(60_000, 16);
  bomb.writeUInt32BE(60_000, 20);
  bomb.writeUInt32BE(crc32(bomb.subarray(12, 29)), 29);
  const cases: [string, Uint8Array, RegExp][] = [
    ['nothing', new Uint8Array(0), /expected a JPEG/],
    ['text', Buffer.from('not a picture'), /expected a JPEG/],
    ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), /expected a JPEG/],
    ['header alone', jpeg.subarray(0, 600), /can't be decoded/],
    ['JPEG without its end', jpeg.subarray(0, -2), /can't be decoded/],
    ['half a JPEG', jpeg.subarray(0, jpeg.length / 2), /can't be decoded/],
    ['half a PNG', readFileSync(fixture('chelsea-narrow.png')).subarray(0, 8000), /can't be decoded/],
    ['half a WebP', readFileSync(fixture('chelsea.webp')).subarray(0, 70_000), /can't be decoded/],
    ['half a GIF', readFileSync(fixture('chelsea.gif')).subarray(0, 50_000), /can't be decoded/],
    [
      'damaged PNG',
      Buffer.from(readFileSync(fixture('chelsea-narrow.png'))).fill(0x55, 5000, 5100),
      /can't be decoded/,
    ],
    ['too wide', wide, /at most 65535 a side/],
    ['a decompression bomb', bomb, /pixel limit/],
  ];
  for (const [name, bytes, message] of cases) {
    await t.test(name, () =>
      assert.rejects(
        decodeImage(bytes, 'shop.tsv, line 7, image 12'),
        (error) =>
          error instanceof UserError &&
          error.message.startsWith('shop.tsv, line 7, image 12: ') &&
          message.test(error.message),
      ),
    );
  }
});

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}
