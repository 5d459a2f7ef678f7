#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/src/cli/main.js', import.meta.url);
if (!existsSync(main)) {
  process.stderr.write('error: cn-clip is not built yet: run `npm run build` in its folder\n');
  process.exit(1);
}
await (await import(main.href)).main(process.argv);
