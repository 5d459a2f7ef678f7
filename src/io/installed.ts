import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Whether an npm package is installed here; its native parts may still be missing. */
export function isInstalled(name: string): boolean {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}
