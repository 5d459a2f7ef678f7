import type { Scores } from '../eval/retrieval.js';
import { writeFileAtomic } from '../io/atomic.js';
import { type Html, html, page, type TableRow, table } from './html.js';
import { factor, grouped, percent } from './numbers.js';
import { type QueryExample, queryCard } from './queries.js';
import { type StageCurves, stageTable, trainingCharts } from './trainingCurves.js';

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
