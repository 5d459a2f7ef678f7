import type { Scores } from '../eval/retrieval.js';
import { writeFileAtomic } from '../io/atomic.js';
import { averaged, lineChart, type Point } from './chart.js';
import { type Html, html, page, type TableRow, table } from './html.js';
import { factor, grouped, percent } from './numbers.js';
import { type QueryExample, queryCard } from './queries.js';

/** What one optimizer step reported. */
export interface StepMetrics {
  /** From 1, within its stage. */
  step: number;
  loss: number;
  learningRate: number;
  /** In-batch accuracies, from 0 to 1. */
  imageToTextAccuracy: number;
  textToImageAccuracy: number;
  logitScale: number;
  samplesPerSecond: number;
}

export interface PretrainReport {
  title: string;
  /** One or two sentences below the title: the data, the held-out part. */
  summary?: string;
  configuration: readonly { name: string; value: string | number }[];
  parameterCounts: readonly { name: string; count: number }[];
  stages: readonly { name: string; metrics: readonly StepMetrics[] }[];
  recall: readonly { direction: string; scores: Scores }[];
  queries: readonly QueryExample[];
}

/** Points in a chart: more could not be told apart. */
const CHART_POINTS = 300;

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

function stageTable(stages: PretrainReport['stages']): Html {
  const rows = stages.map(({ name, metrics }) => ({
    cells: [
      name,
      grouped(metrics.at(-1)?.step ?? 0),
      meanLoss(metrics.slice(0, 10)),
      meanLoss(metrics.slice(-10)),
      metrics.length === 0 ? '–' : median(metrics.map((step) => step.samplesPerSecond)).toFixed(1),
    ],
  }));
  return html`${table(['Stage', 'Steps', 'Loss at first', 'at last', 'Pairs / s'], rows)}
<p><small>Losses are means of the first and the last ten logged steps, pairs per second the median.</small></p>`;
}

function trainingCharts(stages: PretrainReport['stages']): Html {
  const starts: number[] = [];
  let end = 0;
  for (const { metrics } of stages) {
    starts.push(end);
    end += metrics.at(-1)?.step ?? 0;
  }
  const boundaries = stages.map(({ name }, i) => ({ x: starts[i], label: name })).slice(1);
  const limit = Math.ceil(CHART_POINTS / Math.max(1, stages.length));
  const line = (name: string, pick: (metrics: StepMetrics) => number) => ({
    name,
    points: stages.flatMap(({ metrics }, i) =>
      averaged(
        metrics.map((step): Point => ({ x: starts[i] + step.step, y: pick(step) })),
        limit,
      ),
    ),
  });
  const chart = (title: string, series: ReturnType<typeof line>[]) =>
    lineChart({ title, xLabel: 'step', series, boundaries });
  const isAveraged = stages.some(({ metrics }) => metrics.length > limit);
  return html`<div class="grid">
${chart('Contrastive loss', [line('loss', (step) => step.loss)])}
${chart('In-batch accuracy', [
  line('image → text', (step) => step.imageToTextAccuracy),
  line('text → image', (step) => step.textToImageAccuracy),
])}
${chart('Learning rate', [line('learning rate', (step) => step.learningRate)])}
${chart('logit_scale', [line('logit_scale', (step) => step.logitScale)])}
</div>
${isAveraged ? html`<p><small>Neighbouring steps are averaged, to at most ${limit} points a stage.</small></p>` : ''}`;
}

function meanLoss(metrics: readonly StepMetrics[]): string {
  if (metrics.length === 0) return '–';
  return (metrics.reduce((sum, { loss }) => sum + loss, 0) / metrics.length).toFixed(3);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
