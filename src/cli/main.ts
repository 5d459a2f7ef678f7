import { Command } from 'commander';
import { messageOf, UserError } from '../errors.js';
import { closeBars } from '../io/terminal.js';
import { version } from '../io/version.js';
import { benchmarkCommand } from './benchmark.js';
import { classifyCommand } from './classify.js';
import { convertCommand } from './convert.js';
import { dataCommand } from './data.js';
import { doctorCommand } from './doctor.js';
import { downloadCommand } from './download.js';
import { evalCommand } from './eval.js';
import { evalElevaterCommand } from './evalElevater.js';
import { evalRetrievalCommand } from './evalRetrieval.js';
import { exportCommand } from './export.js';
import { extractFeaturesCommand } from './extractFeatures.js';
import { finetuneCommand } from './finetune.js';
import { indexCommand } from './indexPictures.js';
import { interpolateCommand } from './interpolate.js';
import { pretrainCommand } from './pretrain.js';
import { quickstartCommand } from './quickstart.js';
import { searchCommand } from './search.js';
import { serveCommand } from './serve.js';
import { similarityCommand } from './similarity.js';
import { trainReportCommand } from './trainReport.js';

/** Runs the command line. Bad input prints one message and exits with 1; --debug adds the stack trace. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('cn-clip')
    .description('Pretrain and evaluate Chinese CLIP, convert its checkpoints and export them')
    .version(version)
    .option('--debug', 'print stack traces')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(cn-clip --help lists the commands, cn-clip COMMAND --help the options)')
    .addCommand(quickstartCommand())
    .addCommand(pretrainCommand())
    .addCommand(finetuneCommand())
    .addCommand(trainReportCommand())
    .addCommand(evalCommand())
    .addCommand(evalRetrievalCommand())
    .addCommand(evalElevaterCommand())
    .addCommand(classifyCommand())
    .addCommand(similarityCommand())
    .addCommand(indexCommand())
    .addCommand(searchCommand())
    .addCommand(serveCommand())
    .addCommand(downloadCommand())
    .addCommand(convertCommand())
    .addCommand(interpolateCommand())
    .addCommand(exportCommand())
    .addCommand(extractFeaturesCommand())
    .addCommand(benchmarkCommand())
    .addCommand(doctorCommand())
    .addCommand(dataCommand());
  // A reader that has seen enough (`| head`) ends the command, as it ends other programs.
  process.stdout.on('error', () => process.exit(141));
  try {
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
