import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from './packageRoot.js';

const require = createRequire(import.meta.url);

/** The version of this package. */
export const version = versionIn(join(packageRoot, 'package.json'));

/** The version of an npm package that is installed. */
export function installedVersion(name: string): string {
  return versionIn(require.resolve(`${name}/package.json`));
}

function versionIn(path: string): string {
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
