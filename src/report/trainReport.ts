import { basename, join, resolve } from 'node:path';
import { writeFileAtomic } from '../io/atomic.js';
import { type BestMetric, bestMetrics, meanRecallOf, milestones } from '../train/bestMetric.js';
import { otherMilestones } from '../train/outcome.js';
import { type ParameterCounts, RunDirectory } from '../train/runDirectory.js';
import type { ValidationRecord } from '../train/validation.js';
import { lineChart } from './chart.js';
import { type Html, html, page, type TableRow, table } from './html.js';
import { grouped } from './numbers.js';
import { settingRows } from './settings.js';
import { type StageCurves, stageTable, trainingCharts } from './trainingCurves.js';

/**
 * Writes report.html into the folder of a run, from what lies in it: recall before, at best and after, curves of training
 * and validation, parameters and settings. One file that needs nothing else.
 *
 * @returns its path
 * @throws UserError if the folder holds no run
 */
export function writeTrainReport(directory: string): string {
  const run = new RunDirectory(directory);
  const settings = run.readSettings();
  const metrics = run.readMetrics();
  const validations = run.readValidations('valid');
  const others = run.readValidations('other');
  const counts = run.readParameters();
  const metric = bestMetrics.find((name) => name === settings.bestMetric) ?? 'meanRecall';
  const stages = Object.keys(counts).map((name): StageCurves => {
    const number = name === 'stage 2' ? 2 : 1;
    return { name, metrics: metrics.filter(({ stage }) => stage === number) };
  });
  const title = `Training run ${basename(resolve(directory))}`;
  const body = html`<header>
<h1>${title}</h1>
<p class="quiet">Model ${String(settings.model)}, data ${JSON.stringify(settings.data)}.</p>
</header>
${validationSection(validations, others, stages, metric)}
<section>
<h2>Training</h2>
${stageTable(stages)}
${trainingCharts(stages)}
</section>
<section>
<h2>Parameters</h2>
${parameterTable(counts)}
<h2>Settings</h2>
${table(
  ['Setting', 'Value'],
  settingRows(settings).map(({ name, value }) => ({ cells: [name, value] })),
  { text: true },
)}
</section>`;
  const path = join(directory, 'report.html');
  const text = page(title, body);
  writeFileAtomic(path, (append) => append(text));
  return path;
}

function validationSection(
  records: readonly ValidationRecord[],
  others: readonly ValidationRecord[],
  stages: readonly StageCurves[],
  metric: BestMetric,
): Html {
  if (records.length + others.length === 0) return html``;
  return html`<section>
<h2>Validation</h2>
<p class="quiet">Recall@k over the full pool, in percent. Loss and accuracy are those inside of batches, as the reference validates.</p>
${validationTable([...milestones(records, metric), ...otherMilestones(others)])}
<p><small>Best of the validations after the first step, by ${metric}.</small></p>
${records.length === 0 ? '' : validationCharts(records, stages)}
</section>`;
}

function validationTable(milestones: readonly { name: string; record: ValidationRecord }[]): Html {
  const rows = milestones.map(({ name, record }): TableRow => {
    const { textToImage, imageToText } = record;
    const recall = ({ recallAt1, recallAt5, recallAt10 }: typeof textToImage) =>
      [recallAt1, recallAt5, recallAt10].map((value) => value.toFixed(1));
    return {
      cells: [
        html`${name} <small>step ${grouped(record.step)}</small>`,
        ...recall(textToImage),
        ...recall(imageToText),
        meanRecallOf(record).toFixed(2),
        record.loss.toFixed(3),
        (100 * record.imageToTextAccuracy).toFixed(1),
        (100 * record.textToImageAccuracy).toFixed(1),
      ],
    };
  });
  return table(
    ['', 'T→I R@1', 'R@5', 'R@10', 'I→T R@1', 'R@5', 'R@10', 'Mean', 'Loss', 'Acc. I→T', 'T→I'],
    rows,
  );
}

function validationCharts(records: readonly ValidationRecord[], stages: readonly StageCurves[]): Html {
  const offset = stages.find(({ name }) => name === 'stage 1')?.metrics.at(-1)?.step ?? 0;
  const line = (name: string, pick: (record: ValidationRecord) => number) => ({
    name,
    points: records.map((record) => ({
      x: record.step + (record.stage === 2 ? offset : 0),
      y: pick(record),
    })),
  });
  const chart = (title: string, series: ReturnType<typeof line>[]) =>
    lineChart({ title, xLabel: 'step', series });
  return html`<div class="grid">
${chart('Recall@1, full pool', [
  line('text → image', ({ textToImage }) => textToImage.recallAt1),
  line('image → text', ({ imageToText }) => imageToText.recallAt1),
])}
${chart('Mean recall, full pool', [line('mean recall', meanRecallOf)])}
${chart('Validation loss, in batches', [line('loss', ({ loss }) => loss)])}
${chart('Validation accuracy, in batches', [
  line('image → text', ({ imageToTextAccuracy }) => imageToTextAccuracy),
  line('text → image', ({ textToImageAccuracy }) => textToImageAccuracy),
])}
</div>`;
}

function parameterTable(counts: Record<string, ParameterCounts>): Html {
  const rows = Object.entries(counts).map(
    ([name, { trained, all }]): TableRow => ({
      cells: [name, grouped(trained), grouped(all), `${((100 * trained) / all).toFixed(2)} %`],
    }),
  );
  return table(['Stage', 'Values trained', 'Parameters of the model', 'Share'], rows);
}
