import { type ParseArgsConfig, parseArgs } from 'node:util';

/** The flags of a benchmark. What is wrong with them is told in a line, and ends the process. */
export function parseFlags<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    console.error(`${(error as Error).message}\nbench/README.md lists the flags`);
    process.exit(2);
  }
}
