import { type Command, Help } from 'commander';
import { commands } from './commands.js';

/** Longer terms stand on a line of their own, so that 40 of a terminal's 80 columns are left for what they mean. */
const MAX_TERM_WIDTH = 36;

/** How help looks: wrapped on a terminal; elsewhere a line a setting, which a search finds as a whole. */
export const helpSettings: Partial<Help> = {
  helpWidth: process.stdout.isTTY ? undefined : Number.POSITIVE_INFINITY,
  showGlobalOptions: true,
  padWidth: (command, helper) =>
    Math.min(MAX_TERM_WIDTH, Help.prototype.padWidth.call(helper, command, helper)),
  formatItem: (term, width, description, helper) => {
    const format = (shown: string) =>
      Help.prototype.formatItem.call(helper, shown, width, description, helper);
    const isAlone =
      Number.isFinite(helper.helpWidth) && description !== '' && helper.displayWidth(term) > width;
    return isAlone ? `  ${term}\n${format('')}` : format(term);
  },
  subcommandTerm: (command) => {
    // Of the commands only the one that is called is made: the list says what the others take.
    const listed = commands.find(({ name }) => name === command.name());
    const isListed = listed !== undefined && command.parent?.parent === null;
    return isListed ? `${listed.name} ${listed.usage}`.trimEnd() : new Help().subcommandTerm(command);
  },
};

/** Gives a command, and those in it, the project's help. Commands inherit it from none that they are added to. */
export function addHelp(command: Command): Command {
  for (const child of command.commands) addHelp(child);
  return command
    .configureHelp(helpSettings)
    .showHelpAfterError('(cn-clip --help lists the commands, cn-clip COMMAND --help the options)');
}
