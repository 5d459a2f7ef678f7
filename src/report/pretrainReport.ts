import { UserError } from '../errors.js';
import type { Scores } from '../eval/retrieval.js';
import { writeFileAtomic } from '../io/atomic.js';
import { type Html, html, page, type TableRow, table } from './html.js';
import { grouped, type StageCurves, stageTable, trainingCharts } from './trainingCurves.js';

/** A caption, and the pictures that the model ranks first for it. */
export interface QueryExample {
  text: string;
  /** Best first; pictures as PNG, JPEG or WebP files. */
  results: readonly { image: Buffer; correct: boolean; id: number | string }[];
  /** The rank, from 1, of the first right picture in the whole pool. */
  rankOfTrue: number;
}

export interface PretrainReport {
  title: string;
  /** One or two sentences below the title: the data, the held-out part. */
  summary?: string;
  configuration: readonly { name: string; value: string | number }[];
  parameterCounts: readonly { name: string; count: number }[];
  stages: readonly StageCurves[];
  recall: readonly { direction: string; scores: Scores }[];
  queries: readonly QueryExample[];
}

/**
 * Writes the pretraining report, one HTML file that needs nothing else: recall beside chance, training curves, the
 * first pictures of some queries, and the configuration.
 *
 * @throws UserError where a picture is no PNG, JPEG or WebP; the file is then not written
 */
export function writePretrainReport(path: string, report: PretrainReport): void {
  const text = page(report.title, reportBody(report));
  writeFileAtomic(path, (append) => append(text));
}

function reportBody(report: PretrainReport): Html {
  return html`<header>
<h1>${report.title}</h1>
${report.summary === undefined ? '' : html`<p class="quiet">${report.summary}</p>`}
${tiles(report)}
</header>
<section>
<h2>Retrieval</h2>
<p class="quiet">Recall@k: the share of queries, in percent, with a right answer among the first k of the whole pool. Chance is what a random order reaches.</p>
${recallTable(report.recall)}
</section>
<section>
<h2>Training</h2>
${stageTable(report.stages)}
${trainingCharts(report.stages)}
</section>
<section>
<h2>Queries</h2>
<p class="quiet">The pictures that the model ranks first for each caption. A thick border and ✓ mark the right ones.</p>
<div class="grid">
${report.queries.map(queryCard)}</div>
</section>
<section>
<h2>Configuration</h2>
${table(
  ['Setting', 'Value'],
  report.configuration.map(({ name, value }) => ({ cells: [name, value] })),
  { text: true },
)}
<h2>Parameters</h2>
${table(
  ['Part', 'Parameters'],
  report.parameterCounts.map(({ name, count }) => ({ cells: [name, grouped(count)] })),
  { text: true },
)}
</section>`;
}

/** The result at a glance: recall@10 of each direction. */
function tiles({ recall }: PretrainReport): Html {
  const items = recall.map(
    ({ direction, scores }) => html`<div><dt>${direction}, R@10</dt><dd>${percent(scores.recallAt10)} %</dd>
<small>${factor(scores.recallAt10, scores.chance.recallAt10)} chance, pool of ${grouped(scores.poolSize)}</small></div>
`,
  );
  return html`<dl class="tiles">${items}</dl>`;
}

function recallTable(recall: PretrainReport['recall']): Html {
  const columns = ['recallAt1', 'recallAt5', 'recallAt10', 'meanRecall'] as const;
  const rows = recall.flatMap(({ direction, scores }): TableRow[] => {
    const cells = (format: (recall: number, chance: number) => string) =>
      columns.map((column) => format(scores[column], scores.chance[column]));
    return [
      { cells: [html`${direction} <small>of ${grouped(scores.poolSize)}</small>`, ...cells(percent)] },
      { cells: ['chance', ...cells((_, chance) => percent(chance))], secondary: true },
      { cells: ['times chance', ...cells(factor)], secondary: true },
    ];
  });
  return table(['Direction and pool', 'R@1', 'R@5', 'R@10', 'Mean'], rows);
}

function queryCard({ text, results, rankOfTrue }: QueryExample): Html {
  const pictures = results.map(({ image, correct, id }, i) => {
    const alt = `Rank ${i + 1}: picture ${id}, ${correct ? 'right' : 'not right'}`;
    return correct
      ? html`<li class="right"><img src="${dataUri(image, id)}" alt="${alt}">✓ ${i + 1}</li>\n`
      : html`<li><img src="${dataUri(image, id)}" alt="${alt}">${i + 1}</li>\n`;
  });
  return html`<article class="card">
<h3 lang="zh">${text}</h3>
<small>First right picture at rank ${grouped(rankOfTrue)}</small>
<ol class="results">
${pictures}</ol>
</article>
`;
}

/** The picture as a data URI, its kind told from the file's first bytes. */
function dataUri(image: Buffer, id: number | string): string {
  const start = image.toString('latin1', 0, 12);
  let kind: string;
  if (start.startsWith('\x89PNG\r\n\x1a\n')) kind = 'png';
  else if (start.startsWith('\xff\xd8\xff')) kind = 'jpeg';
  else if (/^RIFF....WEBP$/s.test(start)) kind = 'webp';
  else throw new UserError(`picture ${id}: expected a PNG, JPEG or WebP file for the report`);
  return `data:image/${kind};base64,${image.toString('base64')}`;
}

/** One decimal, more below 1 so that a small chance does not show as zero. */
function percent(value: number): string {
  return value === 0 || value >= 1 ? value.toFixed(1) : Number(value.toPrecision(2)).toString();
}

/** How many times as good as chance: ×86, ×4.2. */
function factor(value: number, chance: number): string {
  if (chance === 0) return '–';
  const times = value / chance;
  return `×${times >= 10 ? grouped(Math.round(times)) : times.toFixed(1)}`;
}
