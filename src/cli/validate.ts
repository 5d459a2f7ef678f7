import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { addSettings, resolveSettings } from '../config/options.js';
import { validateSchema } from '../config/validate.js';
import { type ProblemKind, problemKinds } from '../data/problems.js';
import { type DatasetReport, validateDataset } from '../data/validateDataset.js';
import { alignedLines } from '../eval/tableText.js';
import { writeText } from '../io/atomic.js';
import { createReporter } from '../io/terminal.js';
import { grouped } from '../report/numbers.js';
import { loadTokenizer } from '../text/tokenizer.js';

type SplitReport = DatasetReport['splits'][number];

export function validateCommand(): Command {
  const command = new Command('validate')
    .description('check a dataset to its end: every line, id and picture; list what is wrong')
    .argument('<data>', 'folder of the dataset')
    .addHelpText('after', `\n${exitCodeHelp()}`);
  addSettings(command, validateSchema).action(async (path: string, flags: Record<string, unknown>) => {
    const { vocabulary, shown, json, ...options } = resolveSettings(validateSchema, undefined, flags);
    const reporter = createReporter();
    const beside = join(path, 'vocab.txt');
    const file = vocabulary ?? (existsSync(beside) ? beside : undefined);
    if (file === undefined) reporter.line(`tokens are not counted: there is no ${beside}, give --vocabulary`);
    const tokenizer = file === undefined ? undefined : await loadTokenizer(file);
    let current: string | undefined;
    const onProgress = (split: string, done: number, total: number) => {
      if (current !== split) {
        reporter.end();
        reporter.begin(`${split}: pictures`, total);
      }
      current = split;
      reporter.advance(done);
    };
    const report = await validateDataset(path, { ...options, tokenizer, onProgress });
    reporter.end();
    const { contextLength } = options;
    for (const line of table(report)) reporter.line(line);
    for (const split of report.splits) {
      for (const line of details(split, contextLength, shown)) reporter.line(line);
    }
    if (json !== undefined) writeText(json, JSON.stringify({ ...report, contextLength }, undefined, 1));
    reporter.line(report.isClean ? `${path} is clean` : `${path} is not clean`);
    if (!report.isClean) process.exitCode = 1;
  });
  return command;
}

/** What counts as unclean, from the table of problems. */
function exitCodeHelp(): string {
  const titles = (severity: string) =>
    Object.values(problemKinds)
      .filter((kind) => kind.severity === severity)
      .map(({ title }) => `  ${title}\n`)
      .join('');
  return (
    `Exit code 1, not clean, where there are errors:\n${titles('error')}` +
    `Remarks are listed too, the dataset is clean with them (exit code 0):\n${titles('remark')}`
  );
}

/** A line for each split. */
function table({ splits }: DatasetReport): string[] {
  const columns: [string, (report: SplitReport) => string | number][] = [
    ['split', ({ split }) => split],
    ['images', ({ images }) => images],
    ['texts', ({ texts }) => texts],
    ['pairs', ({ pairs }) => pairs],
    ['errors', ({ problems }) => sum(problems.map((list) => (list.severity === 'error' ? list.count : 0)))],
    ['broken', (report) => count(report, 'picture')],
    ['same pictures', (report) => count(report, 'samePicture')],
    ['same texts', (report) => count(report, 'sameText')],
    ['cut', (report) => (report.tokenLengths === undefined ? '–' : count(report, 'cutText'))],
  ];
  const rows = [
    columns.map(([name]) => name),
    ...splits.map((split) =>
      columns.map(([, value]) => {
        const cell = value(split);
        return typeof cell === 'number' ? grouped(cell) : cell;
      }),
    ),
  ];
  return alignedLines(rows, 1);
}

function details(report: SplitReport, contextLength: number, shown: number): string[] {
  const lines = ['', `${report.split} (${report.source})`];
  const { textsPerImage, tokenLengths, problems } = report;
  if (textsPerImage.length > 0) lines.push('  texts of an image:', ...bars(textsPerImage, TEXT_LIMITS));
  if (tokenLengths !== undefined) {
    const cut = count(report, 'cutText');
    const share = (100 * cut) / Math.max(sum(tokenLengths.map(([, texts]) => texts)), 1);
    lines.push(
      `  tokens of a text; ${cut} (${share.toFixed(2)} %) have more than ${contextLength} and lose their end:`,
      ...bars(tokenLengths, TOKEN_LIMITS),
    );
  }
  for (const { severity, title, count: total, listed } of problems) {
    lines.push(`  ${severity}: ${title}: ${grouped(total)}`);
    const list = listed.slice(0, shown);
    lines.push(...list.map((message) => `    ${message}`));
    if (total > list.length) lines.push(`    … and ${grouped(total - list.length)} more`);
  }
  return lines;
}

/** Upper ends of the ranges that the bars stand for. */
const TEXT_LIMITS = [0, 1, 2, 3, 4, 5, 10, 100, Number.POSITIVE_INFINITY];
const TOKEN_LIMITS = [8, 16, 24, 32, 40, 52, 64, 128, 256, 512, Number.POSITIVE_INFINITY];
const BAR_WIDTH = 40;

/** A histogram, [value, how many] by value, as lines of text. */
function bars(histogram: [number, number][], limits: number[]): string[] {
  const ranges = limits.map((limit, i) => {
    const above = i === 0 ? -1 : limits[i - 1];
    const inside = histogram.filter(([value]) => value > above && value <= limit);
    const low = above + 1;
    const name =
      limit === Number.POSITIVE_INFINITY ? `${low}–` : low === limit ? `${limit}` : `${low}–${limit}`;
    return { name, number: sum(inside.map(([, number]) => number)) };
  });
  const most = Math.max(...ranges.map(({ number }) => number), 1);
  const width = grouped(most).length;
  return ranges
    .filter(({ number }) => number > 0)
    .map(({ name, number }) => {
      const bar = '█'.repeat(Math.ceil((BAR_WIDTH * number) / most));
      return `  ${name.padStart(9)}  ${grouped(number).padStart(width)}  ${bar}`;
    });
}

function count({ problems }: SplitReport, kind: ProblemKind): number {
  return problems.find((list) => list.kind === kind)?.count ?? 0;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
