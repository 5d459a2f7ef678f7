import { Command } from 'commander';
import { messageOf, UserError } from '../errors.js';
import { closeBars } from '../io/terminal.js';
import { version } from '../io/version.js';
import { commands } from './commands.js';
import { addHelp } from './help.js';

/** Runs the command line. Bad input prints one message and exits with 1; --debug adds the stack trace. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('cn-clip')
    .description('Pretrain and evaluate Chinese CLIP, convert its checkpoints and export them')
    .version(version)
    .option('--debug', 'print stack traces');
  // A reader that has seen enough (`| head`) ends the command, as it ends other programs.
  process.stdout.on('error', () => process.exit(141));
  try {
    await addCommands(program, argv.slice(2));
    await addHelp(program).parseAsync(argv);
  } catch (error) {
    closeBars();
    const debug = program.opts<{ debug?: boolean }>().debug === true;
    const unexpected = isForeseen(error) ? '' : ' (unexpected: please report it; --debug shows where)';
    process.stderr.write(`error: ${messageOf(error)}${unexpected}\n`);
    if (debug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  }
}

/** A mistake in what was given, or the system's own refusal (no such folder, no permission, no space). */
function isForeseen(error: unknown): boolean {
  return error instanceof UserError || (error instanceof Error && 'syscall' in error);
}

/** Adds all commands. Only the one that is called is made: the list needs no more of the others than their names. */
async function addCommands(program: Command, args: readonly string[]): Promise<void> {
  const called = args.find((arg) => commands.some(({ name }) => name === arg));
  for (const { name, description, make } of commands) {
    const command = name === called ? await make() : new Command(name);
    program.addCommand(command.description(description));
  }
}
