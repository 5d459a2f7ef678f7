import { Command, Help } from 'commander';
import { messageOf, UserError } from '../errors.js';
import { closeBars } from '../io/terminal.js';
import { version } from '../io/version.js';
import { commands } from './commands.js';

/** Runs the command line. Bad input prints one message and exits with 1; --debug adds the stack trace. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('cn-clip')
    .description('Pretrain and evaluate Chinese CLIP, convert its checkpoints and export them')
    .version(version)
    .option('--debug', 'print stack traces')
    .configureHelp({ showGlobalOptions: true, subcommandTerm })
    .showHelpAfterError('(cn-clip --help lists the commands, cn-clip COMMAND --help the options)');
  // A reader that has seen enough (`| head`) ends the command, as it ends other programs.
  process.stdout.on('error', () => process.exit(141));
  try {
    await addCommands(program, argv.slice(2));
    await program.parseAsync(argv);
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

/** What the list of commands says before a description. */
function subcommandTerm(command: Command): string {
  const listed = commands.find(({ name }) => name === command.name());
  return listed === undefined
    ? new Help().subcommandTerm(command)
    : `${listed.name} ${listed.usage}`.trimEnd();
}
