import { averaged, lineChart, type Point } from './chart.js';
import { type Html, html, table } from './html.js';
import { grouped } from './numbers.js';

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

/** The steps of one stage. */
export interface StageCurves {
  name: string;
  metrics: readonly StepMetrics[];
}

/** Points in a chart: more could not be told apart. */
const CHART_POINTS = 300;

/** Steps, losses and speed of each stage. */
export function stageTable(stages: readonly StageCurves[]): Html {
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

/** Loss, in-batch accuracy, learning rate and logit_scale over the steps of all stages. */
export function trainingCharts(stages: readonly StageCurves[]): Html {
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
