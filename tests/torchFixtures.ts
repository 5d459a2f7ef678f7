import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { fixture, type ReferenceSettings, readJson, temporaryDirectory } from './support.js';

const folder = temporaryDirectory();
const sizes = readJson<Record<string, number>>(fixture('torch', 'files.json'));
const bytes = brotliDecompressSync(readFileSync(fixture('torch', 'files.br')));
const offsets = new Map<string, number>();
let end = 0;
for (const [name, size] of Object.entries(sizes)) {
  offsets.set(name, end);
  end += size;
}

/**
 * The path of a file that PyTorch or transformers wrote, or of a folder, unpacked from tests/fixtures/torch into a
 * temporary folder.
 */
export function torchFixture(name: string): string {
  const path = join(folder, name);
  const found = [...offsets].filter(([file]) => file === name || file.startsWith(`${name}/`));
  if (found.length === 0) throw new Error(`${name} is not among the files of tests/fixtures/torch`);
  for (const [file, offset] of found) {
    const target = join(folder, file);
    if (existsSync(target)) continue;
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, bytes.subarray(offset, offset + sizes[file]));
  }
  return path;
}

/** Training runs of the reference, as runs.json has them. */
export interface ReferenceRun extends ReferenceSettings {
  /** learning rates of the three steps before the checkpoint */
  taken_lrs: number[];
  /** of the two steps after it */
  losses: number[];
  lrs: number[];
  /** parameters in the order in which the optimizer numbers them */
  optimizer_names: string[];
}

export const referenceRuns = readJson<{
  vit: ReferenceRun;
  rn: ReferenceRun;
  'vit-frozen': Pick<ReferenceRun, 'optimizer_names'>;
}>(fixture('torch', 'runs.json'));
