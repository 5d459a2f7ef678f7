import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { messageOf, UserError } from '../errors.js';
import { packageRoot } from '../io/packageRoot.js';
import { closeBars } from '../io/terminal.js';
import { dataCommand } from './data.js';
import { evalRetrievalCommand } from './evalRetrieval.js';
import { pretrainCommand } from './pretrain.js';
import { quickstartCommand } from './quickstart.js';

/** Runs the command line. Bad input prints one message and exits with 1; --debug adds the stack trace. */
export async function main(argv: readonly string[]): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  const program = new Command('cn-clip')
    .description('Pretrain, evaluate and export Chinese CLIP')
    .version(version)
    .option('--debug', 'print stack traces')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(cn-clip --help lists the commands, cn-clip COMMAND --help the options)')
    .addCommand(quickstartCommand())
    .addCommand(pretrainCommand())
    .addCommand(evalRetrievalCommand())
    .addCommand(dataCommand());
  try {
    await program.parseAsync(argv);
  } catch (error) {
    closeBars();
    const debug = program.opts<{ debug?: boolean }>().debug === true;
    const unexpected =
      error instanceof UserError ? '' : ' (unexpected: please report it; --debug shows where)';
    process.stderr.write(`error: ${messageOf(error)}${unexpected}\n`);
    if (debug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  }
}
