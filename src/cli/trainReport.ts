import { Command } from 'commander';
import { writeTrainReport } from '../report/trainReport.js';

export function trainReportCommand(): Command {
  return new Command('train-report').argument('<run>', 'folder of the run').action((run: string) => {
    process.stdout.write(`${writeTrainReport(run)}\n`);
  });
}
