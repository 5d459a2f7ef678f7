import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { packageRoot } from '../src/io/packageRoot.js';
import { Random } from '../src/random.js';
import { boundToCores, hasTaskset } from './boundToCores.js';

const PICTURES = 64;
const [WIDTH, HEIGHT, SIZE] = [500, 375, 224];

/** The same work with Pillow, as the reference does it. */
const PILLOW = `
import io, glob, sys, time
from PIL import Image
pictures = [open(name, 'rb').read() for name in sorted(glob.glob(sys.argv[1] + '/*'))]
size = int(sys.argv[2])
for i in range(7):
    began = time.process_time()
    for picture in pictures:
        Image.open(io.BytesIO(picture)).resize((size, size), Image.BICUBIC).convert('RGB').tobytes()
    if i >= 2:
        print(time.process_time() - began)
`;

/**
 * Prints how many JPEG files of 500 × 375 pixels are decoded and resized to 224 a second on one core, and beside it
 * Pillow, in turns. Time is the processor's, so that other programs count little.
 *
 * @param python interpreter that has Pillow
 * @param core processor that both are bound to, where there is taskset
 */
export async function benchImages(python: string, core: string, rounds: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'cn-clip-bench-'));
  try {
    await writePictures(folder);
    const own = [
      process.execPath,
      fileURLToPath(new URL('./imageRuns.js', import.meta.url)),
      folder,
      String(SIZE),
    ];
    const pillow = [python, '-c', PILLOW, folder, String(SIZE)];
    const hasPillow = spawnSync(python, ['-c', 'import PIL']).status === 0;
    if (!hasPillow) console.log(`${python} has no Pillow: name one that has with --python or CN_CLIP_PYTHON`);
    if (!hasTaskset) console.log('no taskset: not bound to one core');
    const seconds = { 'cn-clip': [] as number[], Pillow: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      seconds['cn-clip'].push(...run(own, core));
      if (hasPillow) seconds.Pillow.push(...run(pillow, core));
    }
    for (const [name, passes] of Object.entries(seconds)) {
      if (passes.length === 0) continue;
      const perSecond = passes.map((time) => PICTURES / time).sort((a, b) => a - b);
      const [low, middle, high] = [0, perSecond.length >> 1, perSecond.length - 1].map((i) =>
        perSecond[i].toFixed(0),
      );
      console.log(`${name}: ${middle} pictures/s (median of ${passes.length} passes, ${low} to ${high})`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function run(command: readonly string[], core: string): number[] {
  const [program, ...args] = boundToCores(core, command);
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim().split('\n').map(Number);
}

/** Parts of a photograph, enlarged, with some noise: about 50 KB each, like those of common data sets. */
async function writePictures(folder: string): Promise<void> {
  const photograph = readFileSync(join(packageRoot, 'tests', 'fixtures', 'images', 'chelsea.jpg'));
  for (let i = 0; i < PICTURES; i++) {
    const random = new Random(0, 'bench images', i);
    const part = { left: random.integer(100), top: random.integer(60), width: 320, height: 220 };
    const { data } = await sharp(photograph)
      .extract(part)
      .resize(WIDTH, HEIGHT, { fit: 'fill' })
      .raw()
      .toBuffer({ resolveWithObject: true });
    const noisy = Uint8ClampedArray.from(data, (value) => value + 4 * random.normal());
    const raw = { width: WIDTH, height: HEIGHT, channels: 3 as const };
    const name = `${String(i).padStart(3, '0')}.jpg`;
    writeFileSync(join(folder, name), await sharp(noisy, { raw }).jpeg({ quality: 90 }).toBuffer());
  }
}
